"""Attributions, header blocks, dividers and taglines of many languages."""

from __future__ import annotations

import textwrap

import pytest

from daimon_mcp.mail.replies import extract_reply, lines_of

_BODY = "Passt.\n\nI will be there at nine, and bring the papers."
_MAIL = "Hello,\n\nshall we meet on Tuesday?\n\nNora"
_QUOTED = textwrap.indent(_MAIL, "> ", lambda _: True)

_ATTRIBUTIONS = [
    "Am 04.03.2025 um 18:20 schrieb Nora Lind <nora@example.org>:",
    "Nora Lind <nora@example.org> schrieb am Di., 4. März 2025, 18:20:",
    "Le mar. 4 mars 2025 à 18:20, Nora Lind <nora@example.org> a écrit :",
    "El mar, 4 mar 2025 a las 18:20, Nora Lind (<nora@example.org>) escribió:",
    "Il giorno mar 4 mar 2025 alle ore 18:20 Nora Lind <nora@example.org> ha scritto:",
    "Em ter., 4 de mar. de 2025 às 18:20, Nora Lind <nora@example.org> escreveu:",
    "Op di 4 mrt 2025 om 18:20 schreef Nora Lind <nora@example.org>:",
    "Den tis 4 mars 2025 kl 18:20 skrev Nora Lind <nora@example.org>:",
    "ti 4.3.2025 klo 18.20 Nora Lind (nora@example.org) kirjoitti:",
    "wt., 4 mar 2025 o 18:20 Nora Lind <nora@example.org> napisał(a):",
    "út 4. 3. 2025 v 18:20 odesílatel Nora Lind <nora@example.org> napsal:",
    "Nora Lind <nora@example.org> ezt írta (időpont: 2025. márc. 4., K, 18:20):",
    "вт, 4 мар. 2025 г. в 18:20, Nora Lind <nora@example.org>:",
    "вт, 4 бер. 2025 р. о 18:20 Nora Lind <nora@example.org> пише:",
    "Στις Τρί 4 Μαρ 2025 στις 6:20 μ.μ., ο χρήστης Nora Lind <nora@example.org> έγραψε:",
    "Nora Lind <nora@example.org>, 4 Mar 2025 Sal, 18:20 tarihinde şunu yazdı:",
    "Nora Lind <nora@example.org> 于2025年3月4日周二 18:20写道：",
    "2025年3月4日(火) 18:20 Nora Lind <nora@example.org>:",
    "2025년 3월 4일 (화) 오후 6:20, Nora Lind <nora@example.org>님이 작성:",
    "Vào Th 3, 4 thg 3, 2025 vào lúc 18:20 Nora Lind <nora@example.org> đã viết:",
    "Pada Sel, 4 Mar 2025 pukul 18.20 Nora Lind <nora@example.org> menulis:",
    "בתאריך יום ג׳, 4 במרץ 2025 ב-18:20 מאת Nora Lind <nora@example.org>:",
    "في الثلاثاء، ٤ مارس ٢٠٢٥ في ٦:٢٠ م تمت كتابة ما يلي بواسطة Nora Lind <nora@example.org>:",
    "‪Nora Lind‬ <nora@example.org> در تاریخ سه‌شنبه ۱۴ اسفند ۱۴۰۳ ساعت ۱۸:۲۰ نوشت:",
    "मंगल, ४ मार्च २०२५ को १८:२० बजे Nora Lind <nora@example.org> ने लिखा:",
    "ในวันที่ อ. 4 มี.ค. 2568 เวลา 18:20 Nora Lind <nora@example.org> เขียนว่า:",
    "Nora Lind <nora@example.org> skribis je 2025-03-04 18:20:",
    "4 մրտ, 2025 թ., 18:20֊ին, Nora Lind <nora@example.org> գրել է՝",
    "T, 4. märts 2025 kell 18:20 Nora Lind <nora@example.org> xyzzy:",
]


@pytest.mark.parametrize("attribution", _ATTRIBUTIONS)
@pytest.mark.parametrize("width", [50, 60, 72, 200])
def test_attributions_of_many_languages(attribution: str, width: int) -> None:
    wrapped = "\n".join(textwrap.wrap(attribution, width, break_long_words=False, break_on_hyphens=False))
    for below in (f"\n{_QUOTED}", f"\n\n{_QUOTED}", f"\n\n{_MAIL}"):
        found = extract_reply(lines_of(f"{_BODY}\n\n{wrapped}{below}"), is_reply=True)
        assert found.body == _BODY
        assert found.rule == "attribution"


@pytest.mark.parametrize(
    "labels",
    [
        "Von Gesendet An Betreff",
        "De Envoyé À Objet",
        "De Enviado Para Asunto",
        "Da Inviato A Oggetto",
        "De Enviada Para Assunto",
        "Van Verzonden Aan Onderwerp",
        "Från Skickat Till Ämne",
        "Fra Sendt Til Emne",
        "Lähettäjä Lähetetty Vastaanottaja Aihe",
        "Od Wysłano Do Temat",
        "Od Odesláno Komu Předmět",
        "Feladó Elküldve Címzett Tárgy",
        "От Отправлено Кому Тема",
        "Від Надіслано Кому Тема",
        "Από Στάλθηκε Προς Θέμα",
        "Kimden Gönderildi Kime Konu",
        "发件人 发送时间 收件人 主题",
        "寄件者 寄件日期 收件者 主旨",
        "差出人 送信日時 宛先 件名",
        "من أرسل إلى الموضوع",
        "מאת נשלח אל נושא",
    ],
)
@pytest.mark.parametrize("above", ["", "________________________________\n", "-----\n"])
@pytest.mark.parametrize("colon", [":", " :", "：", ":*"])
def test_header_blocks_of_many_languages(labels: str, above: str, colon: str) -> None:
    values = ["Nora Lind <nora@example.org>", "4. 3. 2025 18:20", "Paul", "Tuesday"]
    block = "\n".join(f"{label}{colon} {value}" for label, value in zip(labels.split(), values, strict=True))
    found = extract_reply(lines_of(f"{_BODY}\n\n{above}{block}\n\n{_MAIL}"), is_reply=True)
    assert (found.body, found.rule) == (_BODY, "header_block")


def test_a_header_block_of_an_unknown_language_is_known_by_its_shape() -> None:
    block = "Xa: Nora <nora@example.org>\nYa: 4. 3. 2025 18:20\nZa: Paul <paul@example.org>\nQa: Tuesday"
    assert extract_reply(lines_of(f"{_BODY}\n\n{block}\n\n{_MAIL}"), is_reply=True).body == _BODY


@pytest.mark.parametrize(
    "divider",
    [
        "-----Ursprüngliche Nachricht-----",
        "-----Message d'origine-----",
        "-----Mensaje original-----",
        "-----Messaggio originale-----",
        "-----Mensagem original-----",
        "-----Oorspronkelijk bericht-----",
        "-----Ursprungligt meddelande-----",
        "-------- Opprinnelig melding --------",
        "-----Wiadomość oryginalna-----",
        "-----Původní zpráva-----",
        "-----Исходное сообщение-----",
        "------------------ 原始邮件 ------------------",
        "-----元のメッセージ-----",
        "----- 원본 메시지 -----",
        "-----Özgün İleti-----",
    ],
)
def test_dividers_of_many_languages(divider: str) -> None:
    found = extract_reply(lines_of(f"{_BODY}\n\n{divider}\n\n{_MAIL}"), is_reply=True)
    assert (found.body, found.rule) == (_BODY, "original_divider")


@pytest.mark.parametrize(
    "divider",
    [
        "---------- Forwarded message ---------",
        "-------- Weitergeleitete Nachricht --------",
        "---------- Message transféré ----------",
        "---------- Mensaje reenviado ----------",
        "---------- Messaggio inoltrato ----------",
        "---------- Mensagem encaminhada ----------",
        "-------- Doorgestuurd bericht --------",
        "---------- Vidarebefordrat meddelande ----------",
        "-------- Пересылаемое сообщение --------",
        "---------- 转发的邮件 ----------",
        "---------- 転送メッセージ ----------",
        "Begin forwarded message:\n",
        "Anfang der weitergeleiteten Nachricht:\n",
        "Début du message transféré :\n",
    ],
)
def test_forwards_of_many_languages_are_kept(divider: str) -> None:
    text = f"FYI\n\n{divider}\nFrom: Nora Lind <nora@example.org>\nDate: 4 Mar 2025\nSubject: Tuesday\n\n{_MAIL}"
    found = extract_reply(lines_of(text), is_reply=True)
    assert (found.body, found.rule) == (text, "kept_forward")
    assert found.forwarded is not None
    assert found.forwarded.from_ == "Nora Lind <nora@example.org>"
    assert (found.forwarded.date, found.forwarded.subject) == ("4 Mar 2025", "Tuesday")
    assert found.forwarded.body == _MAIL


@pytest.mark.parametrize(
    "tagline",
    [
        "Sent from my iPhone",
        "Sent from my Galaxy phone, please excuse typos",
        "Sent from Outlook for Android<https://aka.ms/x>",
        "Get Outlook for iOS<https://aka.ms/x>",
        "Sent with Proton Mail secure email.",
        "Von meinem iPhone gesendet",
        "Gesendet mit der Telekom Mail App",
        "Diese Nachricht wurde von meinem Android-Gerät mit K-9 Mail gesendet.",
        "Envoyé de mon iPhone",
        "Envoyé à partir de Outlook pour iOS",
        "Enviado desde mi iPhone",
        "Enviado do meu iPhone",
        "Inviato da iPhone",
        "Verzonden vanaf mijn iPhone",
        "Skickat från min iPhone",
        "Sendt fra min iPad",
        "Lähetetty iPhonesta",
        "Wysłane z iPhone'a",
        "Odesláno z iPhonu",
        "Elküldve az iPhone-omról",
        "Trimis de pe iPhone-ul meu",
        "Отправлено с iPhone",
        "Надіслано з iPhone",
        "Στάλθηκε από το iPhone μου",
        "iPhone'umdan gönderildi",
        "发自我的 iPhone",
        "從我的 iPhone 傳送",
        "iPhoneから送信",
        "나의 iPhone에서 보냄",
        "Đã gửi từ iPhone của tôi",
        "Dikirim dari iPhone saya",
        "נשלח מה-iPhone שלי",
        "أرسلت من الـ iPhone",
    ],
)
def test_taglines_of_many_languages_are_signatures(tagline: str) -> None:
    found = extract_reply(lines_of(f"{_BODY}\n\n{tagline}"), is_reply=True)
    assert (found.body, found.signature, found.rule) == (_BODY, tagline, "signature")
