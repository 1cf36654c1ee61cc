"""What links ask for in the languages of the world, by their text. `*` opens an end of a word (word_match.py)."""

from __future__ import annotations

from functools import cache

from daimon_mcp.mail.word_match import WordList

_VERIFY = {
    "en": "verify*, verification, confirm*, confirmation, activate*, activation, validate*, validation,"
    " authenticate, complete your*, complete registration, complete sign*, finish sign*, finish setting*,"
    " finish your*, set up account, set up your*, set up my*, setup account, create account, create your*,"
    " create my*, register, registration, unlock*, double opt-in, approve*, authorize*, authorise*, yes,"
    " subscribe me, confirm my*, prove*, enroll*, claim*, i agree, it was me, this was me, yes it was me,"
    " trust this*, restore account, recover account, reactivate*, sign up, delete account, delete my account,"
    " delete your account, confirm deletion, change email*, change your email*",
    "de": "bestätig*, *bestätig*, verifizier*, aktivier*, freischalt*, validier*, registrier*, prüfen,"
    " freigeben, konto erstellen",
    "nl af fy lb": "bevestig*, verifieer*, verifiëer*, verifiër*, activeer*, activeren, aktiveer*, befëstegt*,"
    " bestätegen, bestätegt*, registreer*, registreren",
    "fr": "vérifi*, activ*, valid*, créer mon*, créer votre*, finalis*, s'inscrire, inscription",
    "es gl ca": "confirma*, verific*, valida*, completa*, crear cuenta, regístr*, registr*, comprob*, comprov*",
    "pt": "ativ*, concluir*, criar conta, cadastr*",
    "it": "conferm*, attiv*, convalid*, registra*, crea account",
    "ro la eo": "finaliz*, konfirmi*, konfirmu, probar*, proba*",
    "da no sv": "bekræft*, bekreft*, bekräft*, stadfest*, verifi*, aktiver*, godkend*, godkänn*, godkjenn*,"
    " validera*, opret konto, registrer*, stadfäst*",
    "is fo": "staðfest*, virkja*, vátta*, vátt*, sannreyn*, váttan*",
    "fi et": "vahvist*, varmist*, aktivoi*, kinnita*, kinnitage, aktiveeri*, tarkista tili*, rekisteröi*",
    "lv lt": "apstiprin*, aktiviz*, aktivē*, patvirtin*, aktyvuo*",
    "pl": "potwierd*, weryfik*, zweryfik*, aktyw*, zatwierd*, zarejestr*",
    "cs sk": "potvrd*, potvrď*, ověř*, over*, aktiv*, dokonč*",
    "sl hr bs sr": "potrdi*, potrd*, preveri*, potvrdi*, aktivir*, потврди*, верифик*, активир*, провери*",
    "hu": "megerősít*, erősít*, hitelesít*, aktivál*, ellenőriz*, visszaigazol*, igazol*, *megerősít*, regisztr*",
    "sq mt": "konfirmo*, verifiko*, aktivizo*, ikkonferma*, ivverifika*",
    "ga gd cy eu": "deimhnigh*, fíoraigh*, dearbh*, cadarnhau, cadarnhewch, gwirio, dilysu, baieztatu,"
    " egiaztatu, berretsi, deimhniú",
    "tr az uz tk": "doğrula*, onayla*, etkinleştir*, aktifleştir*, aktive et*, təsdiq*, doğrulayın, tasdiqla*,"
    " tassykla*, hesab yarat*, aktivləşdir*, hesap oluştur*",
    "id ms jv su": "konfirmasi*, verifikasi*, aktifkan, aktivasi, sahkan*, pengesahan, mengesahkan,"
    " konfirmasikake, konfirmasi, verifikasikan, daftar, buat akun",
    "tl": "kumpirmahin, kumpirma*, i-verify, beripikahin, patunayan, i-confirm, i-activate, tiyakin",
    "vi": "xác nhận, xác minh, xác thực, kích hoạt, hoàn tất",
    "sw sn zu xh so ha yo": "thibitisha, hakiki, simbisa, simbisai, qinisekisa, xaqiiji, tabbatar, jẹrisi,"
    " jẹ́risí, washa, amilisha, ona",
    "ku": "piştrast*, erê bike, çalak*",
    "el": "επιβεβαί*, επιβεβαιώ*, επαλήθευ*, επαληθεύ*, ενεργοποί*, επικύρω*, επικυρώ*",
    "ru": "подтверд*, подтвержд*, активац*, верифиц*, проверить*, завершить*, зарегистрир*, создать аккаунт",
    "uk be": "підтверд*, підтвердж*, активув*, актыв*, пацверд*, пацвердж*, пацвярд*, верифік*, перевір*,"
    " праверы*, завершити*",
    "bg mk": "потвърд*, потвържд*, верификув*, потврд*, проверет*",
    "kk ky mn tg": "растау, растаңыз*, ырастоо, баталгаажуул*, тасдиқ*, баталгаажуулах",
    "hy ka": "հաստատ*, վավերացն*, ակտիվացն*, დადასტურ, დაადასტურ, ვერიფიკ, გააქტიურ, აქტივ",
    "he": "אישור, אשר, אימות, אמת, הפעל, הפעלה, לאשר, לאימות, אמתו, אשרו, השלם",
    "ar": "تأكيد, أكد, اكد, تاكيد, التحقق, تحقق, تحقّق, تفعيل, فعّل, فعل, تيقّن, التيقان, التأكيد, توثيق,"
    " إكمال, للتأكيد, تأكيد*, بالتأكيد, لتأكيد",
    "fa": "تأیید*, تایید*, تائید*, فعال*, فعال‌سازی, راستی‌آزمایی, صحت*, تصدیق",
    "ur sd ps ckb": "تصدیق*, توثیق*, تصديق*, تائید, پشتڕاست*, تأييد*, چالو",
    "hi mr ne bho mai sa": "पुष्टि, सत्याप, सक्रिय, पुष्टी, सत्यापित, प्रमाणित, पक्का, सुनिश्चित, निश्चित, पुष्ट, दृढ",
    "bn as": "নিশ্চিত, যাচাই, সক্রিয়, ভেরিফাই, নিশ্চয়",
    "pa gu or": "ਪੁਸ਼ਟੀ, ਤਸਦੀਕ, ਪ੍ਰਮਾਣਿਤ, ਪੱਕਾ, પુષ્ટિ, ચકાસ, ખાતરી, પ્રમાણિત, ନିଶ୍ଚିତ, ଯାଞ୍ଚ, ସତ୍ୟାପ, ପୁଷ୍ଟି",
    "ta te kn ml si": "உறுதி, சரிபார், உறுதிப்படு, నిర్ధార, ధృవీక, నిర్ధారి, నిర్థార, ధ్రువీక, ದೃಢೀ, ಪರಿಶೀಲ,"
    " ದೃಡೀ, ಖಚಿತ, സ്ഥിരീ, പരിശോധി, ഉറപ്പ, තහවුරු, සත්‍යාප, තහවුර, සනාථ",
    "th lo km my": "ยืนยัน, ตรวจสอบ, เปิดใช้งาน, ຢືນຢັນ, ກວດສອບ, បញ្ជាក់, ផ្ទៀងផ្ទាត់, បញ្ជាក, អះអាង, အတည်ပြု, စိစစ်",
    "ko": "인증, 확인, 활성화, 승인, 등록",
    "ja": "確認, 認証, 有効化, 承認, 検証, 登録, アクティベート, アクティブ",
    "zh": "验证, 驗證, 确认, 激活, 啟用, 启用, 认证, 認證, 完成注册, 完成註冊, 核实, 核實",
    "am": "አረጋግጥ, ያረጋግጡ",
}

_RESET = {
    "en": "reset*, change password, change your password, change my password, new password, set password,"
    " set a password, set your password, choose a password, create password, create a password,"
    " create a new password, forgot*, recover*, update password, set new password, choose password,"
    " restore password, password help, restore access",
    "de nl af": "zurücksetzen, passwort ändern, passwort erstellen, neues passwort, passwort zurück*,"
    " kennwort*, wachtwoord*, herstel*, opnieuw instellen, stel wagwoord*, wagwoord*, passwuert*, zrécksetz*",
    "fr": "réinitialis*, mot de passe*, récupér*",
    "es pt ca gl it ro": "restablec*, contraseña*, redefin*, senha*, repor*, palavra-passe, contrasenya*,"
    " contrasinal*, reimposta*, ripristin*, reset password, resetează*, resetare*, resetați*, parola,"
    " parolei, recuper*, cambia password, recupera*, restabl*, restaurar*, tesseram*, restitu*, recipe*,"
    " pasvort*, restarig*, athshocr*, pasfhocal*, cyfrinair*",
    "da no sv is fo": "nulstil*, tilbakestill*, återställ*, adgangskode*, passord*, lösenord*, endurstill*,"
    " endurset*, lykilorð*, loyniorð*, nýtt lykilorð, endurheimt*",
    "fi et lv lt": "salasana*, nollaa*, palauta*, vaihda sal*, parool*, lähtest*, atiestat*, atjauno*, parol*,"
    " slaptažod*, atstat*, atkur*",
    "pl cs sk": "zresetuj*, resetuj*, resetow*, ustaw hasł*, ustaw nowe hasł*, hasło, hasła, obnov*, heslo,"
    " hesla, odzysk*, přenastav*, resetov*",
    "sl hr bs sr sq": "ponastavi*, geslo, gesla, poništi*, resetiraj*, lozink*, obnovi*, reseto*, fjalëkalim*,"
    " ресетуј*, лозинк*, rivendos*",
    "hu": "jelszó*, jelszav*, visszaállít*, *jelszó*",
    "tr az uz": "sıfırla*, şifre*, parola*, yenile*, şifrə*, bərpa*, sıfırlayın, yangila*, tikla*, sıfır*",
    "id ms jv tl sw": "atur ulang, setel ulang, tetapkan semula, kata sandi, kata laluan, sandi, i-reset,"
    " mag-reset, weka upya, nenosiri, palitan ang password, setel maneh, tembung sandhi, pulihkan",
    "vi": "đặt lại, mật khẩu, khôi phục",
    "el": "επαναφορ*, επαναφέρ*, κωδικού πρόσβασης, αλλαγή κωδικού, συνθηματικ*, κωδικό πρόσβασης",
    "ru uk be bg mk": "сброс*, парол*, восстанов*, скинути*, скиньте*, віднов*, аднав*, скід*, скінь*, нулира*,"
    " възстанов*, ресетира*, лозинка*, скину*, нова лозинка",
    "hy ka he": "վերակայ*, վերականգն*, გადაყენ, პაროლ, აღდგენ, איפוס, אפס, סיסמה, סיסמא, אפסו, לאפס, שחזור",
    "ar fa ur": "إعادة تعيين, إعادة ضبط, كلمة المرور, كلمة السر, استعادة, تغيير كلمة*, بازنشانی, بازیابی,"
    " گذرواژه*, رمز عبور, تغییر رمز, ری سیٹ, ریسیٹ, پاس ورڈ, بحال, ري سيٽ, پاسورڊ, پاس ورڊ, لكلمة السر,"
    " تصحيح كلمة*",
    "hi bn gu": "रीसेट, पासवर्ड, रिसेट, রিসেট, পাসওয়ার্ড, রি-সেট, ਰੀਸੈਟ, ਪਾਸਵਰਡ, રીસેટ, પાસવર્ડ, ରିସେଟ୍,"
    " ପାସୱାର୍ଡ, ପାସୱର୍ଡ, ରିସେଟ, ਰੀਸੈੱਟ, कूटशब्द, गुप्तशब्द, पुनः सेट, पुनर्स्थाप",
    "ta te kn ml si": "மீட்டமை, கடவுச்சொல், రీసెట్, పాస్‌వర్డ్, పాస్వర్డ్, ಮರುಹೊಂದಿಸ, ಪಾಸ್‌ವರ್ಡ್, ಗುಪ್ತಪದ,"
    " ಪಾಸ್ವರ್ಡ್, പുനഃസജ്ജ, പാസ്‌വേഡ്, പാസ്സ്‌വേർഡ്, റീസെറ്റ്, പാസ്‌വേർഡ്, මුරපද, නැවත සකස, යළි පිහිටුව, නැවත",
    "th lo km my": "รีเซ็ต, รหัสผ่าน, ตั้งรหัส, ລະຫັດຜ່ານ, ពាក្យសម្ងាត់, ពាក្យសំងាត់, លេខសម្ងាត់, កំណត់, စကားဝှက်",
    "ko ja zh": "재설정, 초기화, 비밀번호, リセット, パスワード, 再設定, 再設置, 重置, 重設, 重设, 密码, 密碼,"
    " 找回, 암호",
}

_LOGIN = {
    "en": "log in, login, log me in, log on, logon, sign in, signin, sign me in, sign-in, log-in, magic link,"
    " access account, access your account, open app, go to dashboard, go to your account, continue to*,"
    " access your*, my account, launch*, go to app",
    "de nl af": "anmeld*, einlogg*, inlogg*, aanmeld*, aanteken, meld aan, meld u aan, meld je aan,"
    " meldt u aan, umelle*, aloggen",
    "fr": "connexion, se connecter, connectez*, connecte*, me connecter, connecter",
    "es pt ca gl it ro": "iniciar sesión, inicia sesión, inicie sesión, ingres*, acceder*, accede*, entrar*,"
    " entra*, iniciar sessão, acessar*, inicia sessió, inicieu sessió, accedi*, entra in*, autentific*,"
    " conectează*, conectați*, conectare, intră*, logați*, logați-vă*, loghează*, fazer login, inire, intra*,"
    " ensalutu*, ensaluti",
    "da no sv is fo": "log ind, logg inn, logg på, logga in, logge inn, skrá inn, innskrá*, innrita*, rita inn,"
    " skráðu*, log på",
    "fi et lv lt": "kirjaudu*, logi sisse, sisene*, pieslēg*, pieteik*, ieiet, ienāc*, prisijung*, jungtis",
    "pl cs sk": "zaloguj*, logowan*, przihlas*, přihlá*, prihlás*, prihlas*, přihlas*",
    "sl hr bs sr sq": "prijav*, vpiš*, uloguj*, пријав*, улогуј*, hyni, hyr*, identifiko*, kyçu, logoh*",
    "hu": "bejelentkez*, belép*, lépj be, jelentkez*",
    "tr az uz": "giriş*, oturum aç*, daxil ol*, kirish, kiring",
    "id ms jv tl sw": "masuk, log masuk, mlebu, mag-log in, mag-sign in, mag-login, ingia, pumasok, pindai",
    "vi": "đăng nhập, truy cập",
    "el": "σύνδεση, συνδεθείτε, είσοδος, εισέλθετε, συνδεθ*, σύνδεσ*",
    "ru uk be bg mk": "войти, вход, вхід, войдите, увійти, увійдіть, увайсці, увайдзіце, влез*, вход в*,"
    " найави*, најави*, логін, лагін, логин, авториз*, увайдз*",
    "hy ka he": "մուտք*, შესვლა, ავტორიზ, כניסה, התחבר, היכנס, להתחבר, התחברות, כנס",
    "ar fa ur": "تسجيل الدخول, دخول, الدخول, سجّل الدخول, سجل الدخول, ورود*, وارد شوید, لاگ ان, سائن ان,"
    " لاگ اِن, داخل*, وارد*, لاگ*, سائن*, تسجل*, سائين*, دخل*",
    "hi bn gu": "लॉग इन, लॉगिन, साइन इन, साइन-इन, लगइन, প্রবেশ, লগ ইন, লগইন, সাইন ইন, ਲੌਗਇਨ, ਲਾਗਇਨ, ਸਾਈਨ ਇਨ,"
    " લોગિન, સાઇન ઇન, લૉગ, ଲଗ, ସାଇନ, प्रवेश, सम्प्रवेश, साइन्",
    "ta te kn ml si": "உள்நுழை, లాగిన్, సైన్ ఇన్, లాగ్, ಲಾಗಿನ್, ಸೈನ್ ಇನ್, ಲಾಗ್, ಪ್ರವೇಶ, ലോഗിൻ, സൈൻ ഇൻ, പ്രവേശി,"
    " ലോഗ്, පිවිස, ඇතුල්, පුරනය, ලොග්, පිවිසෙ",
    "th lo km my": "เข้าสู่ระบบ, ลงชื่อเข้าใช้, ເຂົ້າສູ່ລະບົບ, ចូល, ဝင်ရောက်",
    "ko ja zh": "로그인, 접속, サインイン, ログイン, 登录, 登錄, 登入, 登陆, 登陸",
}

_INVITE = {
    "en": "accept*, join*, invitation, invite, rsvp, decline invitation, respond to*, organization invite",
    "de nl af": "einladung*, annehmen, beitreten, teilnehmen, akzeptier*, zusagen, uitnodig*, accepteer*,"
    " accepteren, deelnemen, aanvaar*, lid word*, aansluit*, invitatioun*, unhuelen, akzeptéier*",
    "fr": "rejoindre, rejoign*",
    "es pt ca gl it ro": "acept*, aceita*, unirse*, únete*, invit*, aceite*, participar*, convite, entrar na equipe*,"
    " accetta*, unisciti*, alătur*, accepta*, unir-se*, uneix*, convid*, aceptar*, akceptu*, akcepti, invito,"
    " accipe*, gamuchira*, glac leis*, derbyn*",
    "da no sv is fo": "accepter*, godta*, aksepter*, acceptera*, tacka ja, invitation*, invitasjon*, inbjudan*,"
    " samþykk*, boð*, deltag*, gå med*, taka av*, játta*, innbjóð*, bli med*, delta",
    "fi et lv lt": "hyväksy*, kutsu*, liity*, liitu*, nõustu*, kutse*, pieņem*, ielūgum*, uzaicin*, pievieno*,"
    " priim*, kvietim*, prisijungti prie*, aktsepteeri*, võta kutse*",
    "pl cs sk": "akceptuj*, przyjmij*, dołącz*, zaprosz*, přijm*, přijmout*, pozvánk*, připoj*, prijať*,"
    " prijat*, prijmúť*, prijmite*, prijm*, pripoj*, zaakceptuj*",
    "sl hr bs sr sq": "sprejmi*, povabil*, pridruži*, prihvati*, poziv*, прихвати*, позив*, pranoj*, prano*,"
    " ftesë*, bashkohu*",
    "hu": "elfogad*, meghívó*, csatlakoz*, meghívás*",
    "tr az uz": "kabul et*, kabul*, daveti*, davet*, katıl*, dəvət*, qəbul*, qabul*, taklif*, qoşul*",
    "id ms jv tl sw": "terima*, undangan, bergabung, gabung, jemputan, sertai, tampa*, uleman, tanggapin,"
    " sumali, kubali*, jiunge, imbitasyon, tanggap*, undhangan, nampa*, bungahan",
    "vi": "chấp nhận, tham gia, lời mời",
    "el": "αποδοχή, αποδεχ*, πρόσκλησ*, συμμετοχή, αποδοχ*",
    "ru uk be bg mk": "принять*, принима*, приглаш*, присоедин*, прийня*, запрош*, приєдн*, прыня*, запраш*,"
    " приеми*, прием*, покан*, прифати*, прийм*, прыміце, прими*, прием",
    "hy ka he": "ընդուն*, հրավեր*, მიღება, მოწვევ, მიიღ, קבל, קבלת, הזמנה, הצטרף, אישור הזמנה, קבלו",
    "ar fa ur": "قبول*, اقبل*, انضم*, الدعوة, دعوة, پذیرش*, پذیرفتن*, دعوت*, قبول کریں, شامل ہوں, دعوت نامہ,"
    " دعوت نامو, قبوليت, عراضة, القبول, قبول ڪريو, بپذیر*",
    "hi bn gu": "स्वीकार, आमंत्रण, निमंत्रण, जुड़ें, शामिल, গ্রহণ, আমন্ত্রণ, যোগ দিন, ਸਵੀਕਾਰ, ਸੱਦਾ, સ્વીકાર,"
    " આમંત્રણ, ଗ୍ରହଣ, ନିମନ୍ତ୍ରଣ, स्विकार, निमन्त्रण, मंजूर, ਕਬੂਲ, आमन्त्रण",
    "ta te kn ml si": "ஏற்றுக்கொள், அழைப்ப, ஏற்க, అంగీకరి, ఆహ్వాన, ఆమోది, స్వీకరి, ಸ್ವೀಕರಿ, ಆಹ್ವಾನ, ಒಪ್ಪಿ,"
    " സ്വീകരി, ക്ഷണ, අනුමත, ආරාධන, පිළිගන්න, එක්වන්න, භාරගන්න, බාරගන්න",
    "th lo km my": "ยอมรับ, คำเชิญ, เข้าร่วม, ຍອມຮັບ, ទទួលយក, អញ្ជើញ, ทด, လက်ခံ, ຮັບ",
    "ko ja zh": "수락, 초대, 참여, 参加, 招待, 承諾, 受け入れ, 接受, 邀请, 邀請, 加入, 受諾, 동의, 受け取",
}

_PAY = {
    "en": "pay, pay now, pay invoice, payment, make a payment, update payment*, update your payment*,"
    " billing info*, update your billing*, update billing*, renew*, upgrade*, checkout, complete payment,"
    " complete purchase, complete order, retry payment, resubscribe, add payment*, pay bill, settle*, extend*",
    "de nl": "bezahlen, jetzt zahlen, zahlung*, zahlungsdaten*, verlängern, betalen, betaal*, upgraden,"
    " erneuern, verleng*",
    "fr": "payer*, paiement*, régler*, renouvel*",
    "es pt ca it ro": "pagar*, paga*, pago, pagamento*, renovar*, rinnova*, plătește*, plata, plătiți*,"
    " pagament*, actualizar plan*",
    "da no sv is fi": "betal*, betala*, förnya*, forny*, greiða*, maksa*, uusi tilaus",
    "pl cs sk sl hr hu": "zapłać*, opłać*, płatno*, zaplat*, zaplať*, platb*, plačaj*, plati*, plaćanje*,"
    " fizet*, kifizet*, odnów*",
    "tr id vi el ru uk bg": "öde*, ödeme*, bayar, pembayaran, thanh toán, πληρωμή*, πληρώ*, оплат*, сплат*,"
    " плати*, плащан*, продлить*",
    "he ar fa hi th": "לתשלום, שלם, ادفع, الدفع, سداد, دفع, پرداخت*, भुगतान, ชำระ",
    "ko ja zh": "결제, 지불, 支払, お支払い, 決済, 支付, 付款, 缴费, 繳費, 续费, 續費",
}

_VIEW = {
    "en": "view*, open*, see*, show*, read the*, download*, review*, check*, track*, manage your*, go to*,"
    " visit*, get started, start*, continue*, proceed, click here, respond*, reply*, watch*, print*, try*,"
    " take me*, update your*, update*, edit*, activity, learn what*, set up*, complete*, finish*, schedule*,"
    " book*, submit*, let's go, inspect*, explore*, turn on*, enable*, secure my*, secure your*, details,"
    " add your*, increase*, here",
    "de nl af": "ansehen, anzeigen, öffnen, herunterladen, ansehen*, prüf*, jetzt starten, weiter, los geht*,"
    " bekijk*, downloaden, ga naar*, hier klicken, klik hier, begin*, antworten",
    "fr": "voir*, afficher*, ouvrir*, consulter*, télécharger*, commencer*, continuer*, démarrer*, cliquez ici,"
    " répondre*, accéder*",
    "es pt ca it ro": "ver*, abrir*, descarg*, consultar*, empezar*, comenzar*, continuar*, clic aquí,"
    " haz clic*, baixar*, começar*, clique aqui, visualiz*, vedi*, apri*, scarica*, visualizza*, inizia*,"
    " continua*, clicca qui, vezi*, deschide*, descarcă*",
    "da no sv is fi et lv lt": "vis*, åbn*, åpne*, öppna*, visa*, hent*, last ned, ladda ner, kom i gang*,"
    " kom igång*, fortsæt*, fortsett*, fortsätt*, skoða*, opna*, näytä*, avaa*, katso*, lataa*, aloita*,"
    " jatka*, vaata*, ava*, skatīt*, atvērt*, peržiūr*, atidaryti*",
    "pl cs sk sl hr sr hu sq": "zobacz*, otwórz*, pobierz*, sprawdź*, kontynuuj*, rozpocznij*, kliknij*,"
    " zobraz*, otevř*, otvor*, stáhn*, stiahn*, pokrač*, začít*, klikn*, ogled*, odpri*, prenesi*, pogled*,"
    " otvori*, preuzm*, nastavi*, započn*, klikni*, megtekint*, megnyit*, letölt*, kattint*, folytat*,"
    " kezdés*, shiko*, hap, hapni",
    "tr az id ms vi sw tl": "görüntüle*, aç*, indir*, incele*, başla*, devam*, tıkla*, bax*, lihat*, buka*,"
    " unduh*, mulai*, lanjut*, klik*, xem*, mở*, tải*, bắt đầu*, tiếp tục*, nhấp*, fungua*, tazama*,"
    " tingnan*, buksan*, i-click*",
    "el": "προβολή*, άνοιγμα*, ανοίξτε*, δείτε*, λήψη*, συνέχεια*, ξεκιν*, κάντε κλικ*",
    "ru uk be bg mk": "посмотр*, просмотр*, откры*, скача*, перейти*, продолж*, начать*, нажм*, ответить*,"
    " перегля*, відкри*, заванта*, продовж*, натисн*, праглед*, адкры*, преглед*, отвор*, изтегл*, продължи*,"
    " започн*, преземи*",
    "hy ka he": "դիտել*, բացել*, ნახვა, გახსნა, הצג, צפה, פתח, הורד, המשך, התחל, לחץ, לצפייה",
    "ar fa ur": "عرض*, فتح*, افتح*, تحميل*, تنزيل*, متابعة*, ابدأ*, اضغط*, انقر*, مشاهده*, دانلود*, ادامه*,"
    " شروع*, کلیک*, دیکھیں*, کھولیں*",
    "hi bn gu ta te th": "देखें, खोलें, डाउनलोड, जारी, शुरू, क्लिक, দেখুন, খুলুন, ডাউনলোড, শুরু, ક્લિક, જુઓ,"
    " பார், திற, చూడ, తెర, ดู, เปิด, ดาวน์โหลด, เริ่ม, คลิก",
    "ko ja zh": "보기, 열기, 다운로드, 시작, 계속, 바로가기, 클릭, 見る, 表示, 開く, ダウンロード, 開始,"
    " 始める, 続ける, こちら, クリック, 查看, 打开, 打開, 下载, 下載, 开始, 继续, 繼續, 点击, 點擊, 前往",
}

_UNSUBSCRIBE = {
    "": "unsubscribe*, opt out, opt-out, email preferences, notification preferences, notification settings,"
    " manage preferences, manage notifications, manage subscription*, manage your subscription*,"
    " update preferences, update your preferences, update your email preferences, email settings,"
    " mailing preferences, communication preferences, preferences, stop receiving*, mute*,"
    " manage your notification*, manage your email*, abbestell*, abmelden vom*, newsletter abmelden,"
    " austragen, afmelden, uitschrijven, désabonner*, désinscri*, se désabonner, préférences*, darse de baja,"
    " cancelar suscripción, cancelar la suscripción, anular suscripción, cancelar inscrição, descadastrar*,"
    " cancelar assinatura, anular a subscrição, disiscri*, annulla iscrizione, cancella iscrizione, dezabon*,"
    " donar-se de baixa, afmeld*, avmeld*, avregistrer*, avprenumerera*, avsluta prenumeration*, afskrá*,"
    " peruuta tilaus*, lopeta tilaus, tühista*, atrakst*, atsisaky*, wypisz*, rezygn*, odhlásit odběr*,"
    " odhlásiť*, odhlásit se*, odjavi*, odjava*, leiratkoz*, abonelikten*, abunəlik*, berhenti berlangganan,"
    " hentikan langganan, huỷ đăng ký, hủy đăng ký, διαγραφή*, κατάργηση*, отпис*, відпис*, отказаться от*,"
    " адпіс*, הסר, הסרה, ביטול מנוי, إلغاء الاشتراك, لغو اشتراک*, لغو عضویت*, सदस्यता रद्द, সদস্যতা,"
    " ยกเลิกการรับ, 수신거부, 수신 거부, 구독 취소, 配信停止, 購読解除, 登録解除, 退订, 退訂, 取消订阅,"
    " 取消訂閱, jiondoe",
}

_ASIDE = {
    "": "privacy*, terms*, cookie*, legal, imprint, help, help center, help centre, support, contact us,"
    " contact support, contact, faq*, facebook, twitter, x.com, instagram, linkedin, youtube, tiktok,"
    " pinterest, github, discord, slack community, telegram, whatsapp, mastodon, app store, google play,"
    " play store, appstore, get the app, download the app, download our app, blog, docs, documentation,"
    " help documentation, support team, customer success*, live chat, customer service, our website, website,"
    " homepage, home page, status page, careers, about us, follow us, share, forward to a friend,"
    " forward this email, tell a friend, view in browser, view this email*, view online,"
    " view it in your browser, view as web*, web version, view email in*, read online, browser version,"
    " sitemap, copyright, powered by*, learn more, read more, shop now, buy now, add to contacts,"
    " why did i get this*, report abuse, report this*, not you*, wasn't you, wasn't me, this wasn't me,"
    " feedback, share feedback, rate us, leave a review, survey, close your account, export your data,"
    " datenschutz*, impressum, agb, hilfe, kontakt*, im browser*, weitere informationen, mehr erfahren,"
    " mehr lesen, privacybeleid*, voorwaarden, hulp, bekijk in browser*, online versie*, lees meer,"
    " meer informatie, confidentialité, mentions légales, aide, nous contacter, voir dans le navigateur,"
    " voir en ligne, version en ligne, en savoir plus, lire la suite, privacidad, aviso legal, ayuda,"
    " contacto, contáctanos, ver en el navegador, ver en línea, más información, leer más, privacidade,"
    " termos, ajuda, contato, ver no navegador, saiba mais, leia mais, informativa sulla privacy, assistenza,"
    " aiuto, contatti, visualizza nel browser, scopri di più, leggi tutto, personvern*, integritet*,"
    " privatlivs*, hjælp, hjälp, hjelp, kundeservice, kundservice, kontakta oss, kontakt oss, läs mer,"
    " læs mere, les mer, tietosuoja*, ohje, tuki, lue lisää, polityka prywatności, pomoc, regulamin,"
    " wyświetl w przeglądarce, czytaj więcej, soukromí, nápověda, podpora, zobrazit v prohlížeči,"
    " více informací, čítať viac, adatvéd*, súgó, segítség*, ügyfélszolgálat, gizlilik*, yardım, destek,"
    " iletişim, tarayıcıda*, devamını oku, kebijakan privasi, bantuan, hubungi kami, bảo mật, trợ giúp,"
    " liên hệ, конфиденциальност*, помощь, поддержк*, служба поддержки, открыть в браузере,"
    " посмотреть в браузере, подробнее, читать далее, конфіденційн*, допомога, підтримк*, детальніше,"
    " απόρρητ*, βοήθεια, υποστήριξη, επικοινωνία, מדיניות פרטיות, עזרה, תמיכה, צור קשר, الخصوصية, المساعدة,"
    " مساعدة, الدعم, اتصل بنا, حریم خصوصی, راهنما, پشتیبانی, تماس با ما, गोपनीयता, सहायता, मदद, নীতিমালা,"
    " সাহায্য, ความเป็นส่วนตัว, ช่วยเหลือ, 개인정보, 고객센터, 고객 센터, 도움말, 문의, 자세히, プライバシー,"
    " ヘルプ, サポート, お問い合わせ, 利用規約, ブラウザ, 詳細はこちら, 隐私, 隱私, 帮助, 幫助, 客服,"
    " 联系我们, 聯絡我們, 在浏览器中, 在瀏覽器中, 了解更多, 阅读更多, 閱讀更多",
}

_REVOKE = {
    "": "revoke*, did not request*, didn't request, not request*, wasn't you, was not you, wasn't me, not you,"
    " not me, if you did not*, if you didn't*, did not initiate*, didn't initiate*, undo this*,"
    " cancel this request, cancel request, report it*, report this*, secure your account, secure my account, widerruf*,"
    " waren sie das nicht*, nicht angefordert, nicht von ihnen, n'avez pas demandé, n'êtes pas à l'origine,"
    " no solicit*, no has solicitado, no fuiste tú, não solicit*, non hai richiesto, niet aangevraagd,"
    " отозвать, не запраш*, не вы, talep etmediyseniz, nie prosi*, 心当たりのない, 如果不是您, 如果不是你,"
    " 不是您本人, 본인이 아닌, 요청하지",
}


@cache
def action_words() -> tuple[tuple[str, WordList], ...]:
    """Kinds of actions with the words of their links, in the order in which a text is asked for them."""
    return (
        ("reset", WordList(_RESET)),
        ("invite", WordList(_INVITE)),
        ("verify", WordList(_VERIFY)),
        ("login", WordList(_LOGIN)),
        ("pay", WordList(_PAY)),
        ("view", WordList(_VIEW)),
    )


@cache
def unsubscribe_words() -> WordList:
    """Words of links that end a subscription or change which mail comes."""
    return WordList(_UNSUBSCRIBE)


@cache
def aside_words() -> WordList:
    """Words of links beside the matter: privacy, help, social networks, app stores, the web version."""
    return WordList(_ASIDE)


@cache
def revoke_words() -> WordList:
    """Words around links for those who did not ask for the mail."""
    return WordList(_REVOKE)
