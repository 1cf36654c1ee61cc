"""One-time codes: which number of a mail is the code, in many languages, and which numbers are none."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail import code_words
from daimon_mcp.mail.codes import MOST_CODES, Code, find_codes
from daimon_mcp.mail.durations import durations
from daimon_mcp.mail.html_view import Line, Span


def in_text(text: str, subject: str = "", **more: str) -> tuple[Code, ...]:
    return find_codes(subject, [Line(line) for line in text.split("\n")], **more)


def best(text: str, subject: str = "") -> str | None:
    found = in_text(text, subject)
    return found[0].value if found else None


# Language, a line that announces a code, the words for its end; the code stands on a line of its own.
LANGUAGES = [
    ("en", "Enter this verification code to sign in:", "The code expires in 15 minutes.", 900),
    ("de", "Dein Bestätigungscode für die Anmeldung:", "Er ist 15 Minuten gültig.", 900),
    ("nl", "Gebruik deze verificatiecode:", "De code verloopt over 15 minuten.", 900),
    ("af", "Gebruik hierdie verifikasiekode:", "Dit verval oor 15 minute.", 900),
    ("da", "Her er din bekræftelseskode:", "Den udløber om 15 minutter.", 900),
    ("nb", "Her er engangskoden din:", "Den utløper om 15 minutter.", 900),
    ("sv", "Här är din verifieringskod:", "Koden gäller i 15 minuter.", 900),
    ("is", "Hér er kóðinn þinn:", "Hann rennur út eftir 15 mínútur.", 900),
    ("fi", "Tässä on vahvistuskoodisi:", "Koodi on voimassa 15 minuuttia.", 900),
    ("et", "Siin on sinu kinnituskood:", "Kood kehtib 15 minutit.", 900),
    ("lv", "Jūsu apstiprinājuma kods:", "Kods derīgs 15 minūtes.", 900),
    ("lt", "Jūsų patvirtinimo kodas:", "Kodas galioja 15 minučių.", 900),
    ("pl", "Wpisz kod weryfikacyjny:", "Kod wygasa za 15 minut.", 900),
    ("cs", "Zadejte ověřovací kód:", "Platnost kódu vyprší za 15 minut.", 900),
    ("sk", "Zadajte overovací kód:", "Kód vyprší o 15 minút.", 900),
    ("sl", "Vnesite potrditveno kodo:", "Koda poteče čez 15 minut.", 900),
    ("hr", "Unesite kod za potvrdu:", "Kod istječe za 15 minuta.", 900),
    ("sr", "Унесите код за потврду:", "Код важи 15 минута.", 900),
    ("hu", "Adja meg az ellenőrző kódot:", "A kód 15 perc múlva lejár.", 900),
    ("ro", "Introdu codul de verificare:", "Codul expiră în 15 minute.", 900),
    ("sq", "Vendosni kodin e verifikimit:", "Kodi skadon pas 15 minutash.", 900),
    ("fr", "Voici votre code de connexion :", "Il expire dans 15 minutes.", 900),
    ("es", "Introduce este código de verificación:", "Caduca en 15 minutos.", 900),
    ("pt", "Use este código de verificação:", "Ele expira em 15 minutos.", 900),
    ("it", "Inserisci il codice di verifica:", "Il codice scade tra 15 minuti.", 900),
    ("ca", "Introdueix el codi de verificació:", "Caduca d'aquí a 15 minuts.", 900),
    ("eu", "Sartu egiaztapen-kodea:", "Kodea 15 minututan iraungiko da.", 900),
    ("ga", "Cuir isteach an cód fíoraithe:", "Rachaidh sé in éag i gceann 15 nóiméad.", 900),
    ("cy", "Rhowch y cod dilysu:", "Bydd yn dod i ben ymhen 15 munud.", 900),
    ("mt", "Daħħal il-kodiċi ta' verifika:", "Jiskadi fi 15 minuta.", 900),
    ("tr", "Doğrulama kodunuzu girin:", "Kodun süresi 15 dakika içinde dolar.", 900),
    ("az", "Təsdiq kodunu daxil edin:", "Kod 15 dəqiqə etibarlıdır.", 900),
    ("uz", "Tasdiqlash kodini kiriting:", "Kod 15 daqiqa amal qiladi.", 900),
    ("el", "Εισαγάγετε τον κωδικό επαλήθευσης:", "Ο κωδικός λήγει σε 15 λεπτά.", 900),
    ("ru", "Введите код подтверждения:", "Код действует 15 минут.", 900),
    ("uk", "Введіть код підтвердження:", "Код дійсний 15 хвилин.", 900),
    ("be", "Увядзіце код пацверджання:", "Код дзейнічае 15 хвілін.", 900),
    ("bg", "Въведете кода за потвърждение:", "Кодът е валиден 15 минути.", 900),
    ("mk", "Внесете го кодот за потврда:", "Кодот важи 15 минути.", 900),
    ("kk", "Растау кодын енгізіңіз:", "Код 15 минут жарамды.", 900),
    ("mn", "Баталгаажуулах кодыг оруулна уу:", "15 минут хүчинтэй.", 900),
    ("hy", "Մուտքագրեք հաստատման կոդը:", "Կոդը ուժի մեջ է 15 րոպե:", 900),
    ("ka", "შეიყვანეთ დადასტურების კოდი:", "კოდი მოქმედებს 15 წუთის განმავლობაში.", 900),
    ("he", "הזן את קוד האימות:", "הקוד תקף ל 15 דקות.", 900),
    ("ar", "أدخل رمز التحقق التالي:", "تنتهي صلاحية الرمز خلال 15 دقيقة.", 900),
    ("fa", "کد تأیید را وارد کنید:", "این کد 15 دقیقه اعتبار دارد.", 900),
    ("ur", "تصدیقی کوڈ درج کریں:", "یہ کوڈ 15 منٹ میں ختم ہو جائے گا۔", 900),
    ("hi", "यह सत्यापन कोड दर्ज करें:", "यह कोड 15 मिनट में समाप्त हो जाएगा।", 900),
    ("mr", "सत्यापन कोड प्रविष्ट करा:", "हा कोड 15 मिनिटांसाठी वैध आहे.", 900),
    ("ne", "प्रमाणीकरण कोड राख्नुहोस्:", "यो कोड 15 मिनेट मान्य छ।", 900),
    ("bn", "যাচাইকরণ কোডটি লিখুন:", "কোডটির মেয়াদ 15 মিনিট।", 900),
    ("pa", "ਤਸਦੀਕ ਕੋਡ ਦਾਖਲ ਕਰੋ:", "ਇਹ ਕੋਡ 15 ਮਿੰਟ ਲਈ ਵੈਧ ਹੈ।", 900),
    ("gu", "ચકાસણી કોડ દાખલ કરો:", "આ કોડ 15 મિનિટ માન્ય છે.", 900),
    ("or", "ଯାଞ୍ଚ କୋଡ ଦିଅନ୍ତୁ:", "ଏହା 15 ମିନିଟ ବୈଧ।", 900),
    ("ta", "சரிபார்ப்புக் குறியீட்டை உள்ளிடவும்:", "இது 15 நிமிடங்களில் காலாவதியாகும்.", 900),
    ("te", "ధృవీకరణ కోడ్ నమోదు చేయండి:", "ఇది 15 నిమిషాల్లో గడువు ముగుస్తుంది.", 900),
    ("kn", "ಪರಿಶೀಲನಾ ಕೋಡ್ ನಮೂದಿಸಿ:", "ಇದು 15 ನಿಮಿಷಗಳ ಕಾಲ ಮಾನ್ಯ.", 900),
    ("ml", "സ്ഥിരീകരണ കോഡ് നൽകുക:", "ഇത് 15 മിനിറ്റിനുള്ളിൽ കാലഹരണപ്പെടും.", 900),
    ("si", "සත්‍යාපන කේතය ඇතුළත් කරන්න:", "එය මිනිත්තු 15කින් කල් ඉකුත් වේ.", 900),
    ("th", "กรุณากรอกรหัสยืนยัน:", "รหัสจะหมดอายุใน 15 นาที", 900),
    ("lo", "ກະລຸນາໃສ່ລະຫັດຢືນຢັນ:", "15 ນາທີ", 900),
    ("km", "សូមបញ្ចូលលេខកូដ៖", "ផុតកំណត់ក្នុងរយៈពេល 15 នាទី។", 900),
    ("my", "အတည်ပြုကုဒ်ကို ထည့်ပါ:", "15 မိနစ် အတွင်း သက်တမ်းကုန်မည်။", 900),
    ("vi", "Nhập mã xác minh:", "Mã có hiệu lực trong 15 phút.", 900),
    ("id", "Masukkan kode verifikasi:", "Kode berlaku selama 15 menit.", 900),
    ("ms", "Masukkan kod pengesahan:", "Kod sah selama 15 minit.", 900),
    ("tl", "Ilagay ang verification code:", "Mag-e-expire ito sa loob ng 15 minuto.", 900),
    ("sw", "Weka msimbo wa uthibitishaji:", "Msimbo utaisha muda baada ya dakika 15.", 900),
    ("ko", "인증 코드를 입력하세요:", "이 코드는 15분 후에 만료됩니다.", 900),
    ("ja", "次の確認コードを入力してください。", "コードの有効期限は15分です。", 900),
    ("zh", "请输入以下验证码：", "验证码15分钟内有效。", 900),
    ("zh-tw", "請輸入以下驗證碼：", "驗證碼將於 15 分鐘後失效。", 900),
    ("am", "የማረጋገጫ ኮድ ያስገቡ:", "15 ደቂቃ", 900),
]  # fmt: skip


@pytest.mark.parametrize(("language", "line", "end", "seconds"), LANGUAGES, ids=[each[0] for each in LANGUAGES])
def test_code_under_its_line_in_many_languages(language: str, line: str, end: str, seconds: int) -> None:
    found = in_text(f"Acme 2026\n\n{line}\n\n740193\n\n{end}\n\nAcme, 10115")
    assert [(code.value, code.kind, code.expires_in) for code in found] == [("740193", "otp", seconds)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("740193 is your Acme code", "740193"),
        ("G-740193 is your Acme verification code.", "G-740193"),
        ("Your Acme code: 740-193. Do not share it", "740-193"),
        ("<#> Your Acme code is 7401. Never share it. 1wPsnpZe9Zx", "7401"),
        ("[Acme] 740193 is the one for you: your verification code", "740193"),
        ("Use 7401 as your login code for Acme. (Ask for help)", "7401"),
        ("Your code is 740 193", "740193"),
        ("Your code is 7401 9300", "74019300"),
        ("Security code: 74 01 93", "740193"),
        ("Security code: 04 01 93", "040193"),
        ("Code: 7 4 0 1 9 3", "740193"),
        ("YOUR CODE IS 74019", "74019"),
        ("Your access code is K7QX2M", "K7QX2M"),
        ("Your confirmation code is KQX-7M2", "KQX-7M2"),
        ("Your recovery code:\n\nK7QX-2MPL", "K7QX-2MPL"),
        ("Your code is listed below.\n\nKWDTRX", "KWDTRX"),
        ("Open the page and enter the code aB3dE9.", "aB3dE9"),
        ("OTP for your transaction of Rs. 500.00 at ACME is 740193. Valid for 10 mins", "740193"),
        ("740193 is the OTP for txn of INR 1,500.00 on card ending 4242", "740193"),
        ("TAN: 740193 für Ihre Überweisung über 50,00 EUR", "740193"),
        ("【Acme】您的验证码是740193，5分钟内有效。", "740193"),
        ("[Acme] 인증번호 [740193]를 입력해주세요.", "740193"),
        ("認証コード：７４０１９３", "740193"),
        ("رمز التحقق الخاص بك هو ٧٤٠١٩٣", "740193"),
        ("کد ورود شما: ۷۴۰۱۹", "74019"),
        ("आपका ओटीपी ७४०१९३ है", "740193"),
        ("Your verification code: 740193\nRef: 99812345", "740193"),
        ("Order 99812345\nYour verification code: 740193\nCall +1 555 010 9999", "740193"),
        ("Enter this code to verify your login:\n\n2026", "2026"),
        ("Your verification code\n7\n4\n0\n1\n9\n3\nThanks", "740193"),
        ("Your verification code\n\n**740193**\n", "740193"),
    ],
)
def test_forms_of_codes(text: str, value: str) -> None:
    assert best(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "Your order 740193 has shipped",
        "Order number\n740193\nTotal\n$49.00",
        "Order code: 740193",
        "Invoice #740193 is due",
        "Rechnung 740193 über 49,00 EUR",
        "Bestellnummer\n74019301",
        "注文番号 740193",
        "订单号：74019301",
        "Use promo code SAVE20 at checkout",
        "Use code SPRING25 for 25% off your order",
        "Your discount code is 740193",
        "Rabattcode: 740193",
        "Your ZIP code 94107",
        "Votre code postal : 75011",
        "San Francisco, CA 94107",
        "1234 Street Rd. Suite 1234",
        "Call 18005550199 about the code of conduct",
        "Call us: +1 (555) 010-9999 code",
        "Tel. 030 740193",
        "Meeting ID: 740 193 3345",
        "The code review of 2026-03-14 took 1200 minutes",
        "In 2026 the code was rewritten",
        "The total is 740193 JPY",
        "Balance: $7401.93",
        "card ending in 4242",
        "Customer number 7401930",
        "Your tracking number 74019301 and code of conduct",
        "Parcel 1Z999AA10123456784 is on its way",
        "Error code 50012",
        "Colours #202123 and #740193",
        "Build 740193 passed",
        "100000 users now use one-time codes",
        "ISBN 9783161484100",
        "git commit 7401930 fixes code style",
        "Weekly report\nVisitors\n740193",
        "Your password has been changed.\nIP 203.0.113.42, Chrome 124, macOS 14, 10:24 UTC",
        "https://acme.example/verify?code=740193",
        "code@740193.example",
        "WELCOME\nEnter the code\nSUPPORT\nfacebook",
    ],
)
def test_numbers_that_are_no_codes(text: str) -> None:
    assert in_text(text) == ()


def test_code_in_the_subject_alone() -> None:
    assert best("Welcome back.", "740193 is your Acme code") == "740193"
    assert best("Use the number below.\n\n740193", "Your verification code") == "740193"
    assert best("Thanks", "Order 740193") is None


def test_looks_of_html_raise_a_code() -> None:
    shown = Line(
        "740193", spans=(Span(0, 6, 32.0, bold=True, monospace=False, spaced=True, heading=False, marked=True),)
    )
    plain = find_codes("", [Line("Your code"), Line("740193")])
    styled = find_codes("", [Line("Your code"), shown])
    assert styled[0].score == plain[0].score + 3.0


def test_best_first_and_not_more_than_the_limit() -> None:
    found = in_text(
        "Your code is 740193. Backup code: 551122\n" + "\n".join(f"Code {n}" for n in range(600000, 600020))
    )
    assert len(found) <= MOST_CODES
    assert [code.score for code in found] == sorted((code.score for code in found), reverse=True)


def test_kinds() -> None:
    assert in_text("Your PIN is 7401")[0].kind == "pin"
    assert in_text("Your login code is 740193")[0].kind == "otp"
    assert {code.kind for code in in_text("Your backup codes:\n74019301\n74019302\n74019303")} == {"backup"}


def test_quoted_and_signed_numbers_count_less() -> None:
    fresh = find_codes("", [Line("Your code is 740193")])[0].score
    assert find_codes("", [Line("Your code is 740193", quoted=1)])[0].score < fresh
    assert find_codes("", [Line("My pin 740193", zone="signature")]) == ()


def test_code_bound_to_a_site() -> None:
    text = "740193 is your Acme code\n\n@acme.example #740193"
    code = in_text(text, from_domain="mail.acme.example")[0]
    assert (code.value, code.bound_domain) == ("740193", "acme.example")
    elsewhere = in_text(text, from_domain="other.example")[0]
    assert elsewhere.bound_domain == "acme.example"
    assert elsewhere.score < code.score
    assert in_text("Welcome\n@acme.example #740193 %frame.example")[0].bound_domain == "acme.example"
    assert in_text("@acme.example #740193\nmore text") == ()


@pytest.mark.parametrize(
    "header", ["@acme.example #740193", "code=740193; origin=https://acme.example", "x", "", "@a #1"]
)
def test_code_in_a_header(header: str) -> None:
    found = in_text("Welcome back", header_code=header)
    if "740193" in header:
        assert [(code.value, code.bound_domain) for code in found] == [("740193", "acme.example")]
    else:
        assert found == ()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("expires in 15 minutes", 900),
        ("valid for ten minutes", 600),
        ("gilt 30 Minuten", 1800),
        ("gültig für 1 Stunde", 3600),
        ("dans les 24 heures", 86_400),
        ("caduca en 1 hora", 3600),
        ("1時間以内", 3600),
        ("30秒内有效", 30),
        ("15-minute code", 900),
    ],
)
def test_stretches_of_time(text: str, seconds: int) -> None:
    assert [found for _, found in durations(text.lower())][:1] == [seconds]


def test_no_expiry_is_made_up() -> None:
    assert in_text("Your code is 740193\nWe were founded 12 years ago")[0].expires_in is None
    assert in_text("Your code is 740193. Version 15.2 min")[0].expires_in is None


def test_word_lists_say_what_they_mean() -> None:
    for name in ("_CODE", "_OTHER_NUMBER", "_EXPIRES", "_BACKUP", "_PIN"):
        words = [" ".join(word.split()) for value in getattr(code_words, name).values() for word in value.split(",")]
        assert all(words), name
        assert [word for word in words if "*" in word.strip("*") or word != word.lower() or " *" in word] == []


def normal(text: str) -> str:
    """As a code is written: digits of every script and full-width letters as ASCII, no white space."""
    digits = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return "".join(unicodedata.normalize("NFKC", digits).replace("\u2010", "-").replace("\u2212", "-").split())


PIECES = st.sampled_from(
    [
        *(
            "code",
            "Your code is",
            "740193",
            "74 01 93",
            "G-740193",
            "٧٤٠",
            "٧٤٠١٩٣",
            "验证码",
            ":",
            " ",
            "\n",
            "\t",
            "#",
        ),
        *("@a.example", "https://a.example/?code=740193", "ABC-D4F", "KWDTRX", "7", "is", ".", "15 minutes", "order"),
        *("$", "2026-01-01", "İ", "\x00", "§"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=6), max_size=40).map("".join), st.text(max_size=40))
def test_every_value_is_in_the_mail(text: str, subject: str) -> None:
    for code in in_text(text, subject):
        assert normal(code.value) in normal(text) or normal(code.value) in normal(subject)
        assert 1 <= len(code.value) <= 24
        assert code.expires_in is None or 0 < code.expires_in <= 30 * 86_400


HOSTILE = {
    "spaces": " ",
    "digits": "1",
    "spaced digits": "1 ",
    "digit lines": "1\n",
    "dates": "2026-",
    "schemes": "http://",
    "ats": "a@",
    "dots": "1.1",
    "thousands": "1,000",
    "parens": "(12) ",
    "codes": "code 123456 ",
    "code words": "код ",
    "glued": "验证码",
    "capitals": "ABCDEF\n",
    "groups": "AB12-",
    "hex": "deadbeef-",
    "minutes": "15 min ",
    "orders": "order code 123456\n",
    "capital İ": "İ",
    "camel": "aBcDeF",
    "bound": "@a.example #123456\n",
    "lines": "\n",
}


@pytest.mark.parametrize("shape", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_mail_takes_no_time(shape: str) -> None:
    text = (shape * (160_000 // len(shape) + 1))[:160_000]
    for lines in ([Line(text)], [Line(line) for line in text.split("\n")]):
        start = time.process_time()
        find_codes(text[:1_000], lines, header_code=text[:10_000])
        assert time.process_time() - start < 2.0


def struck(text: str, start: int, end: int) -> Line:
    span = Span(start, end, 16, bold=False, monospace=False, spaced=False, heading=False, marked=False, struck=True)
    return Line(text, spans=(span,))


def test_a_code_that_is_struck_through_is_none() -> None:
    old = "Your verification code is 111222."
    assert find_codes("", [struck(old, 26, 32)]) == ()
    assert find_codes("", [Line("Your verification code:"), struck("111222", 0, 6)]) == ()
    assert find_codes("", [struck("@acme.example #111222", 0, 21)]) == ()
    boxes = [struck(digit, 0, 1) for digit in "111222"]
    assert find_codes("", [Line("Your verification code:"), *boxes]) == ()


def test_the_code_beside_a_struck_one_is_found() -> None:
    found = find_codes("", [struck("Your verification code is 111222 333444.", 26, 32)])
    assert [code.value for code in found] == ["333444"]
