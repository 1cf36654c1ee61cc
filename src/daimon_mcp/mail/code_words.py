"""What mail in the languages of the world calls a one-time code, and what it calls the numbers that are none.

`*` opens an end of a word (word_match.py). Keys are language codes and serve the reader only.
"""

from __future__ import annotations

from functools import cache

from daimon_mcp.mail.word_match import WordList

_CODE = {
    "en": "code, codes, *passcode, passcodes, otp, otps, totp, one-time password, one time password, pin, pins,"
    " pincode, 2fa, mfa, tan, mtan, smstan, token, one-time pin, login number, verification number,"
    " security key, temporary password, verification pin",
    "de": "*code, *codes, *kode, einmalpasswort*, einmal-passwort*, einmalkennwort*, *-pin, chiptan, pushtan,"
    " bestätigungsnummer, sicherheitsschlüssel, zugangsschlüssel, *kennzahl",
    "nl": "eenmalig wachtwoord, toegangscode, inlogcode",
    "af": "eenmalige pin, eenmalige wagwoord",
    "fy lb": "*koade, *koden",
    "da no": "*koder, engangsadgangskode, engangspassord*",
    "sv": "*kod, engångslösenord*, *lösenkod*",
    "is fo": "*kóði, *kóða, *kóðann, *kóðinn, *kóðanum, *kóta, *kota, *kotan, *kotuna, *kotu, *koda, *kodan,"
    " *koduna, öryggisnúmer, loyniorð*",
    "fi": "*koodi, *koodia, *koodin, *koodilla, *koodisi, *koodit, kertakäyttö*, *tunnuslu*, vahvistustunnu*",
    "et": "*kood, *koodiga, *koodid, ühekordne parool, pin-kood*",
    "lv": "*kods, *kodu, *kodam, *kodus, vienreizēj*",
    "lt": "*kodas, *kodą, *kodo, *kodui, *kodai, vienkartin*",
    "pl": "kod, kodu, kodem, kody, kodzie, hasło jednorazowe, hasła jednorazowego, jednorazow*",
    "cs sk": "kód*, jednorázov*, jednorázové heslo, ověřovací číslo",
    "sl hr bs sr": "kôd, kôdu, koda, kodo, kode, kodom, kodom*, kodoma, šifra, šifro, šifru, enkratn*,"
    " jednokratn*, jednokratna lozinka",
    "hu": "*kód, *kódot, *kódja, *kódját, *kódod, *kódodat, *kóddal, egyszer használatos jelszó, kódszám*",
    "ro": "cod, codul, codului, codurile, coduri, parolă unică, parola unică, parolă de unică folosință",
    "sq": "kodi, kodin, kodit, kodin*",
    "mt ga gd cy": "kodiċi, il-kodiċi, cód, chód, gcód, cóid, còd, chòd, côd, god, gôd, chod, pasfhocal*",
    "es": "código, códigos, codigo, codigos, clave, claves, clave dinámica, contraseña de un solo uso,"
    " contraseña temporal, número de verificación, número de seguridad, nip",
    "pt": "senha de uso único, senha única, senha temporária, palavra-passe única, senha de acesso",
    "gl ca ast oc": "codi, codis, clau, còdi, contrasenya d'un sol ús, contrasenya temporal",
    "eu": "kodea, kodeak, kodearekin, *kodea",
    "fr": "mot de passe à usage unique, mot de passe unique, mot de passe temporaire, code d'accès",
    "br wa ht": "kòd",
    "it": "codice, codici, password monouso, password temporanea, password usa e getta",
    "la eo ia": "codicem, codex, codicis, codicum, kodon, kodoj, *kodon",
    "tr az uz tk": "kodun, koduna, kodunu, kodunuz, kodunuzu, kodunuza, kodla, kodini, kodingiz, kodyny,"
    " kodyňyz, tek kullanımlık şifre*, tek kullanımlık parola*, şifre, şifren*, şifreniz, şifresi,"
    " bir dəfəlik*, birdəfəlik*, bir martalik*, doğrulama şifre*, onay numara*",
    "id ms jv su": "kodenya, kodnya, *sandi sekali pakai, kata sandi sekali, kata laluan sekali, sandi sementara",
    "tl ceb": "kodigo, code ng, pansamantalang password",
    "vi": "mã xác*, mã otp, mã pin, mã số, mã bảo mật, mã đăng nhập, mã của*, mã này, mã sau*, mã kích*,"
    " mã truy cập, mã an toàn, mã dưới đây, mã dùng*, mã là, mã một lần, nhập mã, mật mã, mã bí mật, mã 6,"
    " mã gồm, mật khẩu một lần, mật khẩu dùng một lần, mã:",
    "sw sn zu xh yo ha so rw": "msimbo, misimbo, nambari ya siri, nambari ya uthibitish*, kodhi, ikhodi,"
    " ikhowudi, kóòdù, koodu, koodh, lambar sirri, koodka, kode y*, kodi ya, inombolo yokuqinisekisa",
    "mg mi haw sm": "kaody, waehere, helu hōʻoia, numera faamaonia",
    "ku": "koda te, kodê, şîfre, şîfreya",
    "el": "κωδικ*, κωδικός, κωδικό, *κωδικ*, συνθηματικό μίας χρήσης, πιν",
    "ru": "код, кода, коду, кодом, коде, коды, пароль, пинкод, пин-код, пин, одноразов*, секретный номер",
    "uk be": "кодам, коді, аднаразов*, пін*",
    "bg mk sr": "кодът, кодот, кодов*, кôд, кôда, еднократн*, једнократн*, лозинка за једнократ*,"
    " парола за еднократна*",
    "kk ky mn tg tt ba uz": "кодын, кодыңыз*, кодыңызды, кодуңуз*, кодун, кодунуз, кодуңузду, кодоо, кодоор,"
    " кодыг, коди, рамз, рамзи, бір реттік*, бир жолку*, рамзӣ, кодини",
    "hy": "կոդ*, *կոդ*, ծածկագիր*, գաղտնաբառ*",
    "ka": "კოდ, ერთჯერად",
    "he yi": "קוד, סיסמה חד פעמית, סיסמא חד, סיסמה זמנית, קאָד, קאד",
    "ar": "رمز, الرمز, رمزك, برمز, بالرمز, رمزا, رمزًا, للرمز, لرمز, والرمز, كود, الكود, كودك, بالكود,"
    " كلمة مرور لمرة*, كلمة المرور لمرة*, كلمة سر مؤقتة, الرقم السري, رقم سري, رقم التحقق, رقم التأكيد,"
    " كلمة المرور المؤقتة, شفرة, الشفرة, شيفرة, لكود",
    "fa prs": "کد, کدی, کد‌, کدتان, رمزی, رمز یکبار*, رمز یک*, رمز پویا, گذرواژه*, گذرواژهٔ یک*, کدِ, كد,"
    " كلمه عبور یک*, کلمه عبور یک*, رمزتان",
    "ur sd ps pnb": "کوڈ, کوڈز, ڪوڊ, ڪوڊز, کوډ, کوډونه, ڪوڊ*, کوڈ*, او ٹی پی, پن کوڈ, کوڊ, کود, کوډ*",
    "ckb ug": "کۆد, کۆدی, کۆدەکە, کۆد*, كودى, كودىڭىز*, نومۇر*",
    "hi ne mr bho mai sa": "कोड, कूट, संकेत, सङ्केत, ओटीपी, ओ.टी.पी, पिन, पासकोड, गुप्तशब्द, एकबार,"
    " गोप्य नम्बर, पिन नंबर, कोडः, कोडं, गूढलेख, कुट, क्रमाङ्क सत्यापन",
    "bn as": "কোড, ওটিপি, পিন, ক’ড, কোডটি, সংকেত, ক'ড, ক’ড্",
    "pa": "ਕੋਡ, ਓਟੀਪੀ, ਪਿੰਨ",
    "gu": "કોડ, ઓટીપી, પિન",
    "or": "କୋଡ, ଓଟିପି, ସଂକେତ, ପିନ୍",
    "ta": "குறியீ, கோட், ஓடிபி, ஓடீபி, குறியீடு, கடவுக்குறியீ, ரகசிய எண், பின்",
    "te": "కోడ్, కోడ్‌, ఓటీపీ, ఓటిపి, సంకేత, పిన్",
    "kn": "ಕೋಡ್, ಒಟಿಪಿ, ಸಂಕೇತ, ಪಿನ್, ಗುಪ್ತಪದ ಒಮ್ಮೆ",
    "ml": "കോഡ്, കോഡ, കോഡു, ഒടിപി, ഒടിപ, പിൻ",
    "si": "කේත, කෝඩ්, කේතය, රහස් අංක",
    "th": "รหัส, โอทีพี, โค้ด, ตัวเลขยืนยัน",
    "lo": "ລະຫັດ, ໂຄດ",
    "km": "កូដ, លេខកូដ, លេខសម្ងាត់, លេខសំងាត់, ក្រម",
    "my": "ကုဒ်, ကုတ်, ကုဒ, လျှို့ဝှက်နံပါတ်",
    "bo dz": "ཨང་རྟགས, གསང་ཨང, གསང་གྲངས",
    "ko": "코드, 인증번호, 인증 번호, 확인번호, 확인 번호, 보안번호, 보안 번호, 비밀번호, 일회용, 패스코드,"
    " 암호, 승인번호, 인증키",
    "ja": "コード, 認証番号, 確認番号, 暗証番号, ワンタイム, パスコード, 承認番号, セキュリティ番号, 検証番号,"
    " 認証キー, 確認コード, ピン番号",
    "zh": "验证码, 驗證碼, 校验码, 校驗碼, 动态码, 動態碼, 确认码, 確認碼, 认证码, 認證碼, 安全码, 安全碼,"
    " 代码, 代碼, 密码, 密碼, 口令, 激活码, 激活碼, 啟動碼, 启动码, 登录码, 登入碼, 登錄碼, 登陆码, 授权码,"
    " 授權碼, 识别码, 識別碼, 通行码, 通行碼, 一次性, 动态密码, 驗証碼, 随机码, 隨機碼, 交易码, 驗證代碼,"
    " 短信码, 检验码, 驗証, 校验代码",
    "am ti om": "ኮድ, የማረጋገጫ ቁጥር, koodii",
    "iu chr": "ᖃᐅᔨᓴᕈᑎ",
}

_OTHER_NUMBER = {
    "en": "order, orders, order code, order no, order number, order id, purchase order, invoice, invoice no,"
    " receipt, bill no, ref, ref no, reference, reference number, ticket, case, case id, case number, phone,"
    " telephone, tel, fax, mobile, call, call us at, dial, hotline, text us, sms to, ending in, ending with,"
    " ends in, ending, last four, last 4, card number, account number, account no, account ending, a/c, acct,"
    " customer number, customer id, customer no, client number, member number, membership, tracking,"
    " tracking number, shipment, parcel, waybill, zip, zip code, zipcode, postcode, postal code, post code,"
    " area code, country code, dial code, sort code, swift code, branch code, bank code, iban, vat, vat no,"
    " tax id, tax code, promo code, promo codes, promotion code, promotional code, discount code,"
    " discount codes, coupon, coupons, coupon code, voucher, voucher code, gift code, gift card,"
    " gift card code, redemption code, referral code, refer code, reward code, offer code, product code,"
    " item code, item, sku, part number, model, serial, serial number, error code, status code, exit code,"
    " error, response code, http, source code, bar code, barcode, qr code, qr codes, dress code,"
    " code of conduct, building code, hs code, vendor code, customer code, booking, booking code,"
    " booking reference, booking number, reservation, reservation code, confirmation number,"
    " reservation number, flight, seat, room, gate, meeting id, webinar id, conference id, dial-in, po box,"
    " p.o. box, suite, ste, apt, unit, building, floor, version, build, release, port, id, uid, user id,"
    " userid, employee id, line, page, amount, total, balance, price, qty, quantity, points, score, issue,"
    " pull request, commit, reg no, registration no, registration number, company number, company no,"
    " license no, licence no, patent, isbn, year, copyright, since, batch, lot, policy number, policy no,"
    " claim number, claim no, transaction, transaction id, payment id, student id, job, requisition, rfc",
    "de": "bestellung, bestellnummer, bestell-nr, bestellcode, auftragscode, auftrag, auftragsnummer,"
    " auftragsnr, rechnung, rechnungsnummer, rechnungsnr, kundennummer, kundennr, kunden-nr, vorgangsnummer,"
    " ticketnummer, referenz*, aktenzeichen, telefon, mobil, postleitzahl, plz, kontonummer, karte endet,"
    " endet auf, endziffern, sendungsnummer, gutschein*, gutscheincode, rabattcode, aktionscode, promocode,"
    " artikelnummer, art.-nr, strichcode, fehlercode, mitgliedsnummer, vertragsnummer, steuernummer,"
    " handelsregister, hrb, hra, ust-id, buchungscode, buchungsnummer, länderkennzahl, vorwahl, bankleitzahl,"
    " blz, betrag, summe, *spanne, *distanz",
    "nl": "bestelling, bestelnummer, ordernummer, factuur, factuurnummer, klantnummer, telefoon, kortingscode,"
    " actiecode, streepjescode, foutcode, kvk, btw, rekeningnummer, boekingscode",
    "fr": "commande, numéro de commande, n° de commande, facture, référence, réf, dossier, téléphone, tél,"
    " appelez, numéro client, n° client, code postal, code promo, code de réduction, code promotionnel,"
    " bon de réduction, code erreur, code-barres, code barre, siret, siren, rcs, tva, colis, suivi,"
    " se terminant par, réservation, montant",
    "es": "pedido, orden, número de pedido, factura, referencia, teléfono, llame, llámanos, código postal,"
    " codigo postal, código promocional, código de descuento, cupón, código de error, código de barras,"
    " número de cliente, terminada en, terminado en, cuenta, nif, cif, reserva, código de reserva, envío,"
    " seguimiento, importe",
    "pt": "número do pedido, encomenda, fatura, nota fiscal, referência, telefone, ligue, cep, cupom, cupão,"
    " código de erro, código de rastreio, código de rastreamento, cnpj, cpf, final, protocolo",
    "it": "ordine, numero ordine, fattura, riferimento, telefono, codice postale, cap, codice sconto,"
    " codice promozionale, buono, codice fiscale, codice a barre, codice cliente, codice errore, partita iva,"
    " p.iva, prenotazione, spedizione, codice prenotazione, carta che termina",
    "ca gl ro": "comanda, telèfon, codi postal, codi promocional, comandă, comanda nr, factură, factura nr,"
    " cod poștal, cod postal, cod promoțional, cod de reducere, cod client, cui",
    "da no sv": "ordre, ordrenummer, ordrenr, faktura, fakturanummer, kundenummer, tlf, postnummer, rabatkode,"
    " rabattkode, rabattkod, stregkode, strekkode, streckkod, best.nr, beställning, beställningsnummer,"
    " kundnummer, fakturanr, cvr, org.nr, orgnr, kampanjkod, fejlkode, felkod, feilkode, postkod",
    "fi et lv lt": "tilaus, tilausnumero, lasku, laskunumero, puhelin, puh, postinumero, alennuskoodi,"
    " viivakoodi, asiakasnumero, y-tunnus, tellimus, arve, postiindeks, sooduskood, ribakood, pasūtījum*,"
    " rēķin*, tālrunis, pasta indekss, atlaižu kods, užsakym*, sąskait*, telefonas, pašto kodas,"
    " nuolaidos kodas",
    "pl": "zamówieni*, nr zamówienia, faktury, kod pocztowy, kod rabatowy, kod promocyjny, kodu rabatowego,"
    " kodem rabatowym, kod kreskowy, nip, regon, krs, przesyłk*, numer klienta, zgłoszeni*, kod błędu",
    "cs sk": "objednáv*, faktur*, telefon*, psč, slevový kód, slevového kódu, zľavový kód, čárový kód,"
    " čiarový kód, ičo, dič, zásilk*, zásielk*, variabilní symbol, variabilný symbol, číslo objednávky,"
    " zákaznické číslo",
    "hu": "rendelés*, rendelésszám, számla, számlaszám, irányítószám, kuponkód*, vonalkód*, adószám,"
    " cégjegyzék*, ügyfélszám, csomagszám, kedvezménykód*",
    "sl hr bs sr": "narudžb*, naročil*, račun*, poštanski broj, poštna številka, kod za popust, koda za popust,"
    " promo kod, crtični kod, barkod, oib, pib, наруџб*, рачун*, телефон, поштански број, промо код, бар код",
    "tr az": "sipariş*, sipariş no, fatura*, posta kodu, indirim kodu, kupon kodu, kampanya kodu, müşteri no,"
    " müşteri numarası, takip no, kargo*, sifariş*, poçt indeksi, endirim kodu, ile biten, hata kodu,"
    " ürün kodu, alan kodu, barkod*",
    "id ms tl sw": "pesanan, nomor pesanan, faktur, telepon, kode pos, poskod, kode promo, kode diskon,"
    " kode kupon, kod promosi, kod diskaun, kode voucher, resi, nombor pesanan, invois, oda, ankara,"
    " msimbo wa posta",
    "vi": "đơn hàng, mã đơn hàng, hóa đơn, hoá đơn, điện thoại, sđt, tổng đài, mã bưu điện, mã giảm giá,"
    " mã khuyến mãi, mã vận đơn, mã khách hàng, mã sản phẩm, mã số thuế, mst, mã vạch, mã ưu đãi",
    "el": "παραγγελ*, τιμολόγι*, τηλέφων*, τηλ, ταχυδρομικός κώδικας, τ.κ, τκ, κουπόνι, εκπτωτικός κωδικός,"
    " κωδικός έκπτωσης, κωδικός προϊόντος, αφμ, κωδικός σφάλματος, κωδικός πελάτη",
    "ru": "заказ*, номер заказа, счет*, счёт*, накладн*, телефон*, тел, звоните, индекс, почтовый индекс,"
    " промокод*, код скидки, купон*, инн, кпп, огрн, штрихкод*, штрих-код*, артикул*, код товара, трек-номер,"
    " договор*, код ошибки, номер обращения, код города, код страны",
    "uk be bg mk": "замовлен*, рахун*, індекс, єдрпоу, рахунак*, паштовы індэкс, поръчк*, фактур*,"
    " пощенски код, еик, нарачк*, поштенски код, код за отстъпка, баркод*",
    "kk ky uz mn tg": "тапсырыс*, шот*, пошта индексі, буюрт*, захиалг*, утас, нэхэмжлэх*, фармоиш*, buyurtma*,"
    " pochta indeksi, chegirma kodi",
    "hy ka": "պատվեր*, հեռախոս*, փոստային*, ინვოის, შეკვეთ, ტელეფონ, საფოსტო",
    "he": "הזמנה, מספר הזמנה, חשבונית, טלפון, מיקוד, קוד קופון, קוד הנחה, ברקוד, ח.פ, עוסק מורשה, קוד שגיאה,"
    " הנחה, קוד מוצר",
    "ar": "طلب رقم, رقم الطلب, طلبك رقم, الطلب رقم, فاتورة, الفاتورة, هاتف, الهاتف, اتصل, رقم المرجع,"
    " الرمز البريدي, رمز بريدي, كود الخصم, كود خصم, رمز الخصم, رمز ترويجي, رقم التتبع, الشحنة, تنتهي ب*,"
    " المنتهية ب*, المبلغ, رقم الحساب, رقم العميل, رمز الخطأ, رمز المنتج, كوبون",
    "fa ur": "سفارش, شماره سفارش, فاکتور, تلفن, تماس, کد پستی, کدپستی, کد تخفیف, کوپن, کد رهگیری, شماره پیگیری,"
    " کد پیگیری, کد ملی, مبلغ, بارکد, کد خطا, آرڈر, رسید, فون, پوسٹل کوڈ, پرومو کوڈ, ڈسکاؤنٹ کوڈ",
    "hi mr ne": "ऑर्डर, आदेश संख्या, चालान, इनवॉइस, फ़ोन, फोन, पिन कोड, पिनकोड, डाक कोड, कूपन, प्रोमो कोड,"
    " छूट कोड, ट्रैकिंग, खाता संख्या, अर्डर, ग्राहक संख्या, त्रुटि कोड, जीएसटी",
    "bn pa gu or": "অর্ডার, চালান, ফোন, পোস্ট কোড, পোস্টাল কোড, কুপন, প্রোমো কোড, ডিসকাউন্ট কোড, ট্র্যাকিং,"
    " ਆਰਡਰ, ਫੋਨ, ਪਿੰਨ ਕੋਡ, ਕੂਪਨ, ઓર્ડર, ફોન, પિન કોડ, કૂપન, ଅର୍ଡର, ଫୋନ, ପିନ କୋଡ",
    "ta te kn ml si": "ஆர்டர், விலைப்பட்டியல், தொலைபேசி, அஞ்சல் குறியீ, கூப்பன், ఆర్డర్, ఇన్వాయిస్, ఫోన్,"
    " పిన్ కోడ్, కూపన్, ಆರ್ಡರ್, ಫೋನ್, ಪಿನ್ ಕೋಡ್, ಕೂಪನ್, ഓർഡർ, ഫോൺ, പിൻ കോഡ്, കൂപ്പൺ, ඇණවුම, දුරකථන,"
    " තැපැල් කේත, කූපන්",
    "th lo km my": "คำสั่งซื้อ, หมายเลขคำสั่งซื้อ, ใบแจ้งหนี้, โทร, รหัสไปรษณีย์, รหัสส่วนลด, โค้ดส่วนลด,"
    " รหัสสินค้า, คูปอง, รหัสพัสดุ, รหัสลูกค้า, คຳສັ່ງຊື້, ໂທລະສັບ, ລະຫັດໄປສະນີ, ការបញ្ជាទិញ, ទូរស័ព្ទ,"
    " លេខកូដប្រៃសណីយ៍, အော်ဒါ, ဖုန်း, စာတိုက်ကုဒ်",
    "ko": "주문, 주문번호, 주문 번호, 송장, 운송장, 청구서, 전화, 고객센터, 우편번호, 쿠폰, 할인 코드,"
    " 할인코드, 프로모션 코드, 사업자등록번호, 사업자, 바코드, 계좌, 예약번호, 예약 번호, 고객번호, 상품코드,"
    " 상품 코드, 오류 코드, 금액",
    "ja": "注文番号, ご注文, 注文, 請求書, 電話, 郵便番号, クーポン, クーポンコード, プロモーションコード,"
    " 割引コード, 商品コード, 商品番号, 追跡番号, 伝票番号, お問い合わせ番号, 会員番号, お客様番号, 予約番号,"
    " 口座番号, 受付番号, バーコード, エラーコード, ギフトコード, 金額, 合計",
    "zh": "订单, 訂單, 订单号, 訂單號, 单号, 單號, 发票, 發票, 电话, 客服, 热线, 熱線, 邮编, 郵編, 邮政编码,"
    " 郵遞區號, 优惠码, 優惠碼, 优惠券, 優惠券, 折扣码, 折扣碼, 兑换码, 兌換碼, 快递, 快遞, 运单, 尾号, 尾號,"
    " 末四位, 账号, 帳號, 工单, 工單, 编号, 編號, 金额, 推荐码, 推薦碼, 邀请码, 邀請碼, 二维码, 二維碼,"
    " 条形码, 條碼, 会员号, 卡号, 卡號, 备案, 備案, icp",
    "am": "ትዕዛዝ, ስልክ",
}

_EXPIRES = {
    "en": "expire*, expiry, expiration, valid, good for, within, active for, works for, remain*, usable, lasts,"
    " next, lifetime",
    "de nl af": "gültig*, gilt, läuft, verfällt, ablauf*, innerhalb, verlopen, verloopt, vervalt, geldig*,"
    " binnen, verval, verstryk*",
    "fr": "valable*, valide*, dans les, pendant",
    "es pt ca gl": "expira*, caduca*, vence*, válid*, valid*, vigen*, vàlid*, caducar*, dentro de, validade, vigencia",
    "it ro la": "scad*, entro, expiră, valabil*, exspir*, expirat*",
    "da no sv is": "udløb*, gyldig*, utløp*, gäller*, giltig*, inom, går ut, upphör, gildir, rennur, gildur, løper ut",
    "fi et lv lt": "voimassa, vanhene*, umpeutu*, kehti*, aegu*, derīg*, beidz*, galioj*, nustos*, baigs*",
    "pl cs sk": "ważn*, wygas*, wygaś*, traci, platn*, platí*, vyprší*, vyprš*, expir*, plat*",
    "sl hr bs sr": "velja*, potek*, poteč*, vrijedi*, vredi*, istič*, istek*, važi*, важи*, истич*",
    "hu": "érvényes*, lejár*, jár le",
    "tr az uz": "geçerli*, sona er*, süre*, etibarlı*, müddət*, amal qil*, yaroqli, bitəcək",
    "id ms tl vi jv sw": "berlaku, kedaluwarsa, kadaluarsa, kadaluwarsa, kedaluarsa, tamat tempoh, sah, luput,"
    " mag-expire, mag-e-expire, mawawalan, hiệu lực, hết hạn, có giá trị, itaisha, muda, entek, expired",
    "el": "λήγ*, λήξ*, ισχύ*, έγκυρ*",
    "ru uk be bg": "действ*, истека*, истеч*, годен, дійсн*, чинн*, закінч*, діє, валид*, изтич*, дзейн*,"
    " страці*, спын*, сапраўд*, важечк*",
    "hy ka he": "ուժի մեջ*, կսպառվ*, ვადა, მოქმედ, תקף, בתוקף, יפוג, יפקע, תוקף",
    "ar fa ur": "صالح*, صلاحي*, تنتهي, ينتهي, سينتهي, ستنتهي, معتبر*, منقضی*, اعتبار, میعاد, ختم",
    "hi bn": "मान्य, समाप्त, वैध, অবৈধ, বৈধ, মেয়াদ, সময়সীমা, ਵੈਧ, ਮਿਆਦ, માન્ય, સમાપ્ત, ବୈଧ, ଶେଷ",
    "ta te kn ml si": "செல்லுபடி, காலாவதி, చెల్లు, గడువు, ಮಾನ್ಯ, ಅವಧಿ, സാധു, കാലഹരണ, വലിഡ്, වලංගු, කල් ඉකුත්",
    "th km my": "หมดอายุ, ใช้ได้, มีอายุ, ផុតកំណត់, សុពលភាព, သက်တမ်း",
    "ko ja zh": "유효, 만료, 이내, 有効, 期限, 以内, 切れ, 有效, 过期, 過期, 失效, 到期, 内, 內",
}

_BACKUP = {
    "": "backup code*, back-up code*, recovery code*, backup-code*, wiederherstellungscode*, codes de secours,"
    " code de secours, códigos de respaldo, códigos de recuperación, códigos de backup, codici di backup,"
    " codici di recupero, резервные коды, резервный код, kody zapasowe, kopie zapasowe, yedek kod*, バックアップコード,"
    " リカバリーコード, 备用码, 備用碼, 恢复代码, 恢复码, 백업 코드, 복구 코드, herstelcode*, backupcode*,"
    " återställningskod*, reservkod*, scratch code*, emergency code*",
}

_PIN = {
    "": "pin, pins, pin-code, pincode, pin code, пин, пин-код, пинкод, *-pin, 暗証番号, pin-koodi, pin-kod, nip",
}


@cache
def code_words() -> WordList:
    """Words that announce a one-time code."""
    return WordList(_CODE)


@cache
def other_number_words() -> WordList:
    """Words that announce a number that is no one-time code: orders, phones, cards, post codes, vouchers."""
    return WordList(_OTHER_NUMBER)


@cache
def expiry_words() -> WordList:
    """Words that say how long something is valid."""
    return WordList(_EXPIRES)


@cache
def backup_words() -> WordList:
    """Words for codes to keep for later."""
    return WordList(_BACKUP)


@cache
def pin_words() -> WordList:
    """Words for a PIN."""
    return WordList(_PIN)
