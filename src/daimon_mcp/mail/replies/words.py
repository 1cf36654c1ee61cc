"""The words of many languages that reply rules look for, as patterns over clean text (rows.clean), any case.

They are a second chance: dates, addresses, colons and quote marks decide first, in whatever language.
"""

from __future__ import annotations

import re


def _any(words: str) -> str:
    return "|".join(re.escape(word) for word in sorted(words.split("|"), key=len, reverse=True))


_WROTE = (
    "wrote|writes|has written|schrieb|schreibt|geschrieben|a écrit|écrit|ecrit|escribió|escribio|ha escrito"
    "|ha escrit|va escriure|escrigué|escribiu|idatzi du|escreveu|ha scritto|scrisse|scrive|schreef|geschreven"
    "|skreau|skrev|skreiv|skrifaði|kirjoitti|kirjutas|napisał|napisała|napisał(a)|pisze|napsal|napsala|napsal(a)"
    "|napísal|napísala|írta|a scris|scrie|napisao|napisala|je napisao|piše|je pisal|je pisala|rakstīja|parašė"
    "|rašė|shkroi|ysgrifennodd|scríobh|sgrìobh|skribis|het geskryf|skryf|menulis|tulis|aliandika|yazdı|yazmış"
    "|yazıb|написал|написала|написал(а)|пишет|писал|писала|написав|пише|написа|напісаў|піша|жазды|έγραψε|έγραψαν"
    "|đã viết|viết|գրել է"
)
# Scripts that set no spaces around words, or join them to what stands beside.
_WROTE_ANYWHERE = (
    "كتب|كتبت|نوشت|כתב|כתבה|写道|寫道|写到|書きました|さんは書きました|のメッセージ|작성|썼습니다|님이|เขียน"
    "|เขียนว่า|ने लिखा|লিখেছেন|எழுதியது|დაწერა|എഴുതി"
)
# Verbs of ordinary prose as well: they count only beside an address.
_SENT = "sent|said|heeft geschreven|gesendet|envoyé|enviado|inviato|отправил|geantwoord|antwortete|replied"

WROTE = re.compile(rf"(?<![^\W\d_])(?:{_any(_WROTE)})(?![^\W\d_])|(?:{_any(_WROTE_ANYWHERE)})", re.IGNORECASE)
SENT = re.compile(rf"\b(?:{_any(_SENT)})\b", re.IGNORECASE)

# What an attribution starts with, before the date or the name.
OPENER = re.compile(
    r"(?:On|Am|Le|El|Il|Op|Em|Em|A|Den|Dne|Dňa|Dnia|W dniu|På|Pe|La|În|În data de|Vào|Στις|Την|В|У|Il giorno|Ons|Na|U"
    r"|Pada|Dana|Kuupäeval|Datumā|Þann|Ar|Më|Tarih|在|于|於|في|في تاريخ|بتاريخ|در|ב"
    r"|ב־|בתאריך|Sent from|Von|Em data|No dia)"
    r"(?=[\s\d,])",
    re.IGNORECASE,
)

_MONTH = (
    "jan|feb|mar|apr|may|mai|maj|jun|jul|aug|sep|oct|okt|nov|dec|dez|dic|dek|janv"
    "|févr|avr|juin|juil|août|déc|ene|abr|ago"
    "|set|out|gen|mag|giu|lug|ott|maj|kwi|cze|lip|sie|wrz|paź|lis|gru|lut|sty|mei|mrt"
    "|märz|янв|фев|мар|апр|май|мая|июн|июл"
    "|авг|сен|окт|ноя|дек|січ|лют|бер|кві|тра|чер|лип|сер|вер|жов|лис|гру|thg|tháng|th"
)
# A day of the year, or a time of day: numbers joined as dates are, a year beside another number, or a month's name.
DATE = re.compile(
    r"(?<!\d)(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4}\s?[年년]|\d{1,2}\s?[月월]\s?\d{1,2}"
    rf"|\d{{1,2}}[a-z]{{0,2}}[.\s-]{{0,2}}(?:de |of )?(?:{_MONTH})[a-zà-ÿ]{{0,8}}(?![a-z])"
    rf"|(?:{_MONTH})[a-zà-ÿа-я]{{0,8}}[.\s]{{0,3}}\d{{1,2}})(?!\d)",
    re.IGNORECASE,
)
TIME = re.compile(r"(?<!\d)(?:[01]?\d|2[0-3])(?:[:.]|\s?h\s?)[0-5]\d(?![\d%])")
_NUMBERS = re.compile(r"(?<!\d)(\d{1,2}|\d{4})(?!\d)")

_MESSAGE = (
    r"messages?|mess|nachricht|meddelelse|meddelande|besked|beskjed|melding|bericht"
    r"|messaggio|mensaje|mensagem|missatge"
    r"|mensaxe|mezua|mesaj(?:ul)?|wiadomo[śs][ćc]|zpráva|správa|üzenet|viesti|kiri|pranešimas|vēstule|ziņa|mesazh"
    r"|сообщение|письмо|повідомлення|лист|съобщение|писмо|порука|μήνυμα|poruka|sporočilo|skilaboð|mail|e-?mail|e-?post"
    r"|ileti|posta|pesan|mesej|tin nhắn|thư|邮件|郵件|信件|訊息|メッセージ|메시지"
    r"|메일|رسالة|الرسالة|پیام|הודעה|ข้อความ|संदेश"
)
MESSAGE = re.compile(rf"(?<!\w)(?:{_MESSAGE})(?!\w)|邮件|郵件|信件|訊息|メッセージ|메시지", re.IGNORECASE)

FORWARD = re.compile(
    r"\bfwd\b|forward|weitergeleit|weiterleit|transféré|transmis|réexpédi|reenviad|reencaminhad|encaminhad|inoltrat"
    r"|doorgest|vidarebefor|videresend|vidaresend|áframsend|przekaz|przesłan|přeposl|preposl|předan|továbbít|välitet"
    r"|edelleenläh|redirec|redirijat|retransmis|edastat|pārsūtī|persiųst|proslije|prosle[đd]|posredovan|пересл|пересил"
    r"|пересыл|препрат|прослеђен|προωθ|iletilen|yönlendiril|转发|轉寄|轉發|転送|전달|chuyển tiếp|diteruskan|terusan"
    r"|معاد توجيه|إعادة توجيه|محولة|הועבר|מועבר|ส่งต่อ|अग्रेषित",
    re.IGNORECASE,
)

_LABELS = {
    "from": "from|frå|von|de|da|van|fra|från|fran|od|odesílatel|odosielateľ|feladó"
    "|lähettäjä|saatja|de la|expediteur|expéditeur"
    "|remitente|mittente|afzender|avsändare|avsender|afsender|nadawca|absender|от|от кого|від|кому від|од|από|kimden"
    "|gönderen|发件人|寄件者|寄件人|差出人|送信者|보낸 사람|보낸사람|发信人|từ"
    "|người gửi|من|از|מאת|จาก|dari|šalje|pošiljatelj"
    "|šiuntėjas|nuo|no|sūtītājs|nga|frá|o|pelo|remetente|nguồn|प्रेषक|से|ki|oddano"
    "|reply-to|responder a|antwort an|回复"
    "|message de",
    "date": "date|sent|datum|gesendet|envoyé|envoyé le|date d'envoi|fecha|enviado"
    "|enviado el|enviada|enviada em|enviado em"
    "|data|inviato|verzonden|sendt|dato|skickat|data wysłania|wysłano|wysłane|odesláno|dátum|odoslané|elküldve|küldve"
    "|lähetetty|päivämäärä|päiväys|kuupäev|saadetud|trimis|trimisă|отправлено|дата"
    "|надіслано|дата відправлення|изпратено"
    "|послато|ημερομηνία|στάλθηκε|gönderilme|gönderildi|gönderme tarihi|tarih"
    "|发送时间|发送日期|日期|寄件日期|送出時間|送信日時"
    "|日時|日付|보낸 날짜|날짜|보낸날짜|ngày|đã gửi|تاريخ|التاريخ|تاريخ الإرسال|أرسل"
    "|تم الإرسال|تاریخ|נשלח|תאריך|วันที่|ส่งเมื่อ"
    "|tanggal|dikirim|tarikh|poslano|poslato|data|išsiųsta|nosūtīts|dërguar|sent on"
    "|date sent|gesendet am|message du|तारीख"
    "|दिनांक|sent at",
    "to": "to|an|à|a|para|per|aan|til|till|do|komu|címzett|vastaanottaja|adressaat|către|la|destinataire|destinatario"
    "|empfänger|ontvanger|кому|до|към|за|προς|kime|alıcı|收件人|收件者|宛先|받는 사람"
    "|받는사람|đến|tới|người nhận|إلى|به|אל|ถึง"
    "|kepada|untuk|prima|za|kam|kuldvastaja|kam|kas|prej|ke|को",
    "cc": "cc|bcc|kopie|copie|copia|kópia|kopia|cópia|kopi|копия|копія|κοιν"
    "|κοινοποίηση|bilgi|抄送|副本|參考|참조|sao lưu|نسخة"
    "|رونوشت|עותק|สำเนา|másolat|kopio|kopija|tembusan|c/c|c.c|c. c",
    "subject": "subject|betreff|objet|sujet|asunto|assunto|oggetto|onderwerp|emne"
    "|ämne|temat|předmět|predmet|tárgy|aihe"
    "|teema|subiect|тема|относно|предмет|θέμα|konu|主题|主旨|主題|件名|标题|標題|제목"
    "|chủ đề|tiêu đề|الموضوع|موضوع|נושא|เรื่อง"
    "|หัวเรื่อง|perihal|subjek|tema|zadeva|naslov|assumpte|gaia|efni|subjekt|gegenstand|titulo|título|विषय|сэдэв",
    "other": "attachments|importance|anlagen|pièces jointes|priority|wichtigkeit"
    "|organization|mailed-by|list-id|x-mailer",
}
LABELS: dict[str, str] = {label: role for role, labels in _LABELS.items() for label in labels.split("|")}


def has_date(text: str) -> bool:
    """Whether a day or a time of day stands in it, in figures or with a month's name; a year alone is none."""
    return TIME.search(text) is not None or has_day(text)


def has_day(text: str) -> bool:
    """Whether a day stands in it: figures joined as dates are, a month's name beside a number, a year beside one."""
    if DATE.search(text):
        return True
    numbers = _NUMBERS.findall(text[:300])
    years = sum(1 for number in numbers if len(number) == 4 and (number[:2] in _CENTURIES))
    return years == 1 and len(numbers) > 1


# Gregorian, Solar Hijri, Hijri and Buddhist years.
_CENTURIES = frozenset({"19", "20", "13", "14", "25"})
