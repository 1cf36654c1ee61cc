"""Links of a mail: what each is for, which one the mail asks to follow, which ones lie about where they lead."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail import action_words
from daimon_mcp.mail.action_links import MOST_LINKS, FoundLink, find_links
from daimon_mcp.mail.html_view import Anchor, Line

SECRET = "9f3c1e7ab24d5806c1f2e3d4b5a69788"
COUNTER = "https://u123.ct.sendgrid.net/ls/click?upn=u001."


def anchors_mail(
    *parts: str | tuple[str, str] | tuple[str, str, str], subject: str = "", sender: str = "acme.example"
) -> tuple[FoundLink, ...]:
    """A mail of lines: text, or an anchor as (label, URL) or (label, URL, "button")."""
    lines: list[Line] = []
    anchors: list[Anchor] = []
    for part in parts:
        if isinstance(part, str):
            lines.append(Line(part))
            continue
        label, url = part[0], part[1]
        anchors.append(Anchor(url, label, len(lines), visible=True, button=len(part) == 3, image_only=False))
        lines.append(Line(label, anchors=((0, len(label), len(anchors) - 1),)))
    return find_links(subject, lines, anchors, from_domain=sender)


def text_mail(text: str, subject: str = "") -> tuple[FoundLink, ...]:
    return find_links(subject, [Line(line) for line in text.split("\n")], None)


def asked(links: tuple[FoundLink, ...]) -> list[str]:
    return [link.url for link in sorted(links, key=lambda link: -link.score) if link.is_cta]


FOOTER: tuple[tuple[str, str], ...] = (
    ("Acme", "https://acme.example"),
    ("Help", "https://acme.example/help"),
    ("Privacy", "https://acme.example/privacy"),
    ("Twitter", "https://twitter.com/acme"),
)


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("Verify email address", "verify"),
        ("Confirm my account", "verify"),
        ("Activate account", "verify"),
        ("Reset your password", "reset"),
        ("Change my password", "reset"),
        ("Sign in", "login"),
        ("Log in to Acme", "login"),
        ("Accept invitation", "invite"),
        ("Join the team", "invite"),
        ("Pay invoice", "pay"),
        ("Renew now", "pay"),
        ("View the comment", "view"),
        ("Download as PDF", "view"),
        ("E-Mail-Adresse bestätigen", "verify"),
        ("Passwort zurücksetzen", "reset"),
        ("Jetzt anmelden", "login"),
        ("Einladung annehmen", "invite"),
        ("E-mailadres bevestigen", "verify"),
        ("Wachtwoord opnieuw instellen", "reset"),
        ("Confirmer mon adresse", "verify"),
        ("Réinitialiser le mot de passe", "reset"),
        ("Se connecter", "login"),
        ("Accepter l'invitation", "invite"),
        ("Confirmar correo", "verify"),
        ("Restablecer contraseña", "reset"),
        ("Iniciar sesión", "login"),
        ("Aceptar invitación", "invite"),
        ("Confirmar e-mail", "verify"),
        ("Redefinir senha", "reset"),
        ("Entrar na conta", "login"),
        ("Conferma indirizzo email", "verify"),
        ("Reimposta password", "reset"),
        ("Accedi", "login"),
        ("Accetta invito", "invite"),
        ("Bekræft e-mailadresse", "verify"),
        ("Nulstil adgangskode", "reset"),
        ("Log ind", "login"),
        ("Bekräfta e-postadress", "verify"),
        ("Återställ lösenord", "reset"),
        ("Logga in", "login"),
        ("Bekreft e-post", "verify"),
        ("Logg inn", "login"),
        ("Vahvista sähköposti", "verify"),
        ("Kirjaudu sisään", "login"),
        ("Potwierdź adres e-mail", "verify"),
        ("Zresetuj hasło", "reset"),
        ("Zaloguj się", "login"),
        ("Potvrdit e-mail", "verify"),
        ("Obnovit heslo", "reset"),
        ("Přihlásit se", "login"),
        ("Potvrdiť e-mail", "verify"),
        ("Erősítse meg az e-mail-címét", "verify"),
        ("Jelszó visszaállítása", "reset"),
        ("Bejelentkezés", "login"),
        ("Confirmă adresa", "verify"),
        ("Resetează parola", "reset"),
        ("E-postayı doğrula", "verify"),
        ("Şifreyi sıfırla", "reset"),
        ("Giriş yap", "login"),
        ("Επιβεβαίωση email", "verify"),
        ("Σύνδεση", "login"),
        ("Подтвердить почту", "verify"),
        ("Сбросить пароль", "reset"),
        ("Войти", "login"),
        ("Принять приглашение", "invite"),
        ("Підтвердити пошту", "verify"),
        ("Скинути пароль", "reset"),
        ("Увійти", "login"),
        ("Потвърдете имейла", "verify"),
        ("אימות כתובת", "verify"),
        ("איפוס סיסמה", "reset"),
        ("تأكيد البريد", "verify"),
        ("إعادة تعيين كلمة المرور", "reset"),
        ("تسجيل الدخول", "login"),
        ("قبول الدعوة", "invite"),
        ("تأیید ایمیل", "verify"),
        ("बदलें और पुष्टि करें", "verify"),
        ("पासवर्ड रीसेट करें", "reset"),
        ("ইমেল নিশ্চিত করুন", "verify"),
        ("மின்னஞ்சலை உறுதிப்படுத்து", "verify"),
        ("ఇమెయిల్ నిర్ధారించండి", "verify"),
        ("ยืนยันอีเมล", "verify"),
        ("รีเซ็ตรหัสผ่าน", "reset"),
        ("เข้าสู่ระบบ", "login"),
        ("Xác nhận email", "verify"),
        ("Đặt lại mật khẩu", "reset"),
        ("Đăng nhập", "login"),
        ("Konfirmasi email", "verify"),
        ("Atur ulang kata sandi", "reset"),
        ("Masuk", "login"),
        ("이메일 인증", "verify"),
        ("비밀번호 재설정", "reset"),
        ("로그인", "login"),
        ("초대 수락", "invite"),
        ("メールアドレスを確認", "verify"),
        ("パスワードをリセット", "reset"),
        ("ログイン", "login"),
        ("招待を受け入れる", "invite"),
        ("验证邮箱", "verify"),
        ("重置密码", "reset"),
        ("登录", "login"),
        ("接受邀请", "invite"),
        ("立即支付", "pay"),
    ],
)
def test_labels_of_many_languages(label: str, kind: str) -> None:
    url = f"https://acme.example/a/{SECRET}"
    links = anchors_mail("Hello", (label, url), *FOOTER)
    assert asked(links) == [url]
    assert links[0].kind == kind


def test_links_come_in_order_each_once_with_their_facts() -> None:
    url = f"https://login.acme.example/verify?token={SECRET}&amp=1"
    links = anchors_mail(
        ("Verify", url, "button"), "Or copy this:", (url, url), ("Mail us", "mailto:a@acme.example"), *FOOTER
    )
    assert [link.url for link in links] == [url, "mailto:a@acme.example", *(each for _, each in FOOTER)]
    first = links[0]
    assert (first.text, first.kind, first.is_cta) == ("Verify", "verify", True)
    assert (first.host, first.domain) == ("login.acme.example", "acme.example")
    assert (first.same_site, first.mismatch) == (True, False)
    assert [link.is_cta for link in links[1:]] == [False] * 5
    assert anchors_mail(("Verify", url), sender="other.example")[0].same_site is False


def test_unknown_words_on_a_button_with_a_secret() -> None:
    url = f"https://acme.example/confirm/{SECRET}"
    assert asked(anchors_mail("Welcome", ("Do something sweet", url, "button"), *FOOTER)) == [url]


@pytest.mark.parametrize(
    "parts",
    [
        ("Your password has been changed.", ("contact support", "https://acme.example/support"), *FOOTER),
        ("News", ("Unsubscribe", f"https://acme.example/unsubscribe?token={SECRET}", "button"), *FOOTER),
        (
            "News",
            ("Read more", "https://acme.example/blog/1", "button"),
            ("Shop now", "https://acme.example/s", "button"),
        ),
        ("Hi", ("App Store", "https://apps.apple.com/app/id12345", "button")),
        ("Hi", ("View in browser", f"https://acme.example/mail/{SECRET}")),
        ("Hi", ("Log in", "https://acme.example")),
        ("Hi", ("Write to us", "mailto:verify@acme.example", "button")),
        (
            "If you did not request this:",
            (f"https://acme.example/revoke/{SECRET}", f"https://acme.example/revoke/{SECRET}"),
        ),
    ],
)
def test_mails_that_ask_for_nothing(parts: tuple[str | tuple[str, str], ...]) -> None:
    assert asked(anchors_mail(*parts)) == []


def test_click_counters_are_judged_by_their_labels() -> None:
    links = anchors_mail(
        ("Acme", COUNTER + "aaaa1111"),
        "Please confirm your address.",
        ("Confirm email", COUNTER + "bbbb2222", "button"),
        ("Help center", COUNTER + "cccc3333"),
        ("Unsubscribe", COUNTER + "dddd4444"),
        ("Privacy", COUNTER + "eeee5555"),
    )
    assert asked(links) == [COUNTER + "bbbb2222"]
    assert [link.kind for link in links] == ["other", "verify", "other", "unsubscribe", "other"]


def test_wrapped_target_speaks_for_itself() -> None:
    url = "https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Facme.example%2Fverify%3Ftoken%3D" + SECRET
    links = anchors_mail("Hello", ("Click", url), *FOOTER)
    assert links[0].kind == "verify"
    assert links[0].domain == "outlook.com"
    assert links[0].same_site is False


def test_newsletter_of_many_buttons_asks_for_none() -> None:
    parts = [(f"View product {n}", f"{COUNTER}product{n}", "button") for n in range(8)]
    assert asked(anchors_mail(*parts, ("Unsubscribe", COUNTER + "u"))) == []
    plain = [(f"View story {n}", f"https://news.acme.example/s/{n}", "button") for n in range(8)]
    assert asked(anchors_mail(*plain, ("Unsubscribe", "https://news.acme.example/unsubscribe"))) == []
    assert asked(anchors_mail(*plain)) == []


def test_newsletter_with_one_thing_to_do() -> None:
    parts = [(f"View story {n}", f"https://news.acme.example/s/{n}") for n in range(8)]
    url = f"https://news.acme.example/confirm?token={SECRET}"
    links = anchors_mail(
        ("Confirm subscription", url, "button"), *parts, ("Unsubscribe", "https://news.acme.example/unsub")
    )
    assert asked(links) == [url]


def test_text_that_shows_another_site() -> None:
    evil = f"https://evil.test/login?token={SECRET}"
    links = anchors_mail("Log in:", ("https://bank.example/login", evil))
    assert links[0].mismatch is True
    assert links[0].is_cta is False
    assert anchors_mail(("bank.example", evil))[0].mismatch is True
    assert anchors_mail(("www.acme.example/login", "https://login.acme.example/x"))[0].mismatch is False
    assert anchors_mail(("README.md", "https://acme.example/x"))[0].mismatch is False
    assert anchors_mail(("https://acme.example/x", COUNTER + "abc"))[0].mismatch is False
    short = "https://bit.ly/3abcdef"
    assert anchors_mail(("https://bank.example/login", short))[0].mismatch is True


def test_hidden_links_are_never_asked_for() -> None:
    anchor = Anchor(
        f"https://acme.example/verify?token={SECRET}", "Verify", -1, visible=False, button=False, image_only=False
    )
    links = find_links("", [Line("Hello")], [anchor])
    assert [link.is_cta for link in links] == [False]


def test_link_to_take_an_action_back() -> None:
    reset = f"https://acme.example/reset-password?token={SECRET}"
    revoke = f"https://acme.example/revoke/reset-password?token=a{SECRET}"
    text = f"If you made this request, click below.\n\n{reset}\n\nTo revoke it, click the link below:\n\n{revoke}\n"
    assert asked(text_mail(text)) == [reset]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (
            "Verify your address:\nhttps://acme.example/v?token=abc12345\nThanks",
            "https://acme.example/v?token=abc12345",
        ),
        ("Reset your password ( https://acme.example/go?t=4f3ba10b ) now", "https://acme.example/go?t=4f3ba10b"),
        (
            "Confirm: <https://acme.example/confirm/4f3ba10b5ca9e38e52f7>.",
            "https://acme.example/confirm/4f3ba10b5ca9e38e52f7",
        ),
        ("[Accept invitation](https://acme.example/i?token=abc12345)", "https://acme.example/i?token=abc12345"),
        ("请点击链接验证邮箱：https://acme.example/v?token=abc12345，谢谢", "https://acme.example/v?token=abc12345"),
        ("Bitte bestätigen: https://acme.example/x_(y)?token=abc12345!", "https://acme.example/x_(y)?token=abc12345"),
        (
            "Verify: https://acme.example/#/verify-email/?userId=1&token=abc12345",
            "https://acme.example/#/verify-email/?userId=1&token=abc12345",
        ),
    ],
)
def test_urls_in_plain_text(text: str, url: str) -> None:
    assert asked(text_mail(f"Hello\n\n{text}\n\nAcme ( https://acme.example )\nHelp: https://acme.example/help")) == [
        url
    ]


def test_urls_as_text_in_html_are_found_once() -> None:
    url = f"https://acme.example/verify?token={SECRET}"
    anchor = Anchor(url, "Verify", 0, visible=True, button=True, image_only=False)
    lines = [Line("Verify", anchors=((0, 6, 0),)), Line("or paste this:"), Line(url), Line("https://acme.example/else")]
    assert [link.url for link in find_links("", lines, [anchor])] == [url, "https://acme.example/else"]


def test_not_more_links_than_the_limit() -> None:
    text = "\n".join(f"https://acme.example/{n}" for n in range(MOST_LINKS + 50))
    assert len(text_mail(text)) == MOST_LINKS


def test_word_lists_say_what_they_mean() -> None:
    for name in ("_VERIFY", "_RESET", "_LOGIN", "_INVITE", "_PAY", "_VIEW", "_UNSUBSCRIBE", "_ASIDE", "_REVOKE"):
        words = [" ".join(word.split()) for value in getattr(action_words, name).values() for word in value.split(",")]
        assert all(words), name
        assert [word for word in words if "*" in word.strip("*") or word != word.lower() or " *" in word] == []


PIECES = st.sampled_from(
    [
        *(
            "https://",
            "http://a.example/verify?token=abcdef12345678",
            "https://b.example",
            "Verify",
            "reset",
            " ",
            "\n",
        ),
        *("(", ")", "<", ">", "[", "]", "#", "?", "=", "%2F", "://", "xn--", ".", "验证", "unsubscribe", "@", ":99999"),
        *("\x00", "İ"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join), st.lists(PIECES | st.text(max_size=9), max_size=6)
)
def test_every_link_is_in_the_mail(text: str, labels: list[str]) -> None:
    lines = [Line(line) for line in text.split("\n")]
    anchors = [
        Anchor(text[n : n + 60], label, n - 1, visible=n % 3 > 0, button=n % 2 > 0, image_only=False)
        for n, label in enumerate(labels)
    ]
    lines[0] = Line(lines[0].text, anchors=tuple((0, n, n) for n in range(len(labels))))
    for links in (find_links(text, lines, None), find_links(text, lines, anchors, from_domain=text[:40])):
        urls = [link.url for link in links]
        assert len(urls) == len(set(urls)) <= MOST_LINKS
        assert all(url in text for url in urls)


HOSTILE = {
    "schemes": "http://",
    "urls": "https://a ",
    "brackets": "https://a/)",
    "tails": "https://a/...",
    "same": "https://a.example/verify?t=1 \n",
    "words": "verify confirm reset ",
    "lines": "\n",
    "one url": "https://a.example/?a=1&",
    "capitals": "İ",
    "percent": "%41",
    "wrapped": "https://x.awstrack.me/L0/https:/a/",
    "hosts": "https://a.a.a.a.a.a.a.a.a.a.a.a.a/ ",
    "random": "https://a.example/aZ9bY8cX7dW6eV5f\n",
}


@pytest.mark.parametrize("shape", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_mail_takes_no_time(shape: str) -> None:
    text = (shape * (160_000 // len(shape) + 1))[:160_000]
    lines = [Line(line) for line in text.split("\n")]
    anchor = Anchor(text, text, 0, visible=True, button=True, image_only=False)
    many = [
        Anchor(
            f"https://a{n}.example/{line.text[:100]}", line.text[:500], n, visible=True, button=True, image_only=False
        )
        for n, line in enumerate(lines[:5_000])
    ]
    for anchors in (None, [anchor], many):
        start = time.process_time()
        find_links(text[:1_000], lines, anchors, from_domain="a.example")
        assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("label", "url"),
    [
        ("shop\uff0eexample", "https://evil.example/"),
        ("shop\u3002example", "https://evil.example/"),
        ("bank.example", "https:///evil.example/"),
        ("bank.example", "https://bank.example@evil.example/"),
        ("https://bank.example@evil.example/", "https://bank.example@evil.example/"),
        ("bank.example", "https://bank.example:443@evil.example:8443/"),
        ("bank.example", "https://evil.example\\@bank.example/"),
        ("bank.example", "https://%65vil.example/bank.example"),
        ("bank.example", "https://"),
    ],
)
def test_hosts_are_compared_as_browsers_read_them(label: str, url: str) -> None:
    assert anchors_mail((label, url))[0].mismatch is True


def test_a_url_in_the_text_that_shows_one_host_and_leads_to_another() -> None:
    assert text_mail("https://bank.example@evil.example/login")[0].mismatch is True
    assert text_mail("https://nora@evil.example/login")[0].mismatch is False
    assert text_mail("https://www.google.com/url?q=https://acme.example/@a")[0].mismatch is False


def test_one_name_in_two_scripts_is_one_host() -> None:
    assert anchors_mail(("b\u00fccher.example", "https://xn--bcher-kva.example/"))[0].mismatch is False


@pytest.mark.parametrize("url", ["https://", "https:///?token=abc123def456", "https://%20/verify?token=abc123def456"])
def test_a_url_without_a_host_is_never_followed(url: str) -> None:
    assert asked(anchors_mail(("Verify email address", url, "button"), subject="Verify email address")) == []
