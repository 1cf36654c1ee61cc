"""How long something is valid, as mail says it: "15 minutes", "1 Stunde", "10 分钟"."""

from __future__ import annotations

import re

_SECONDS = (
    "sec sek seg seconde szek szn saniy soniy san sn sekund sekunt giây detik saat̃ сек δευτερ дeк ثان ثوان"
    " سیکنڈ שני सेकंड सेकेंड সেকেন্ড வினாடி సెకన్ ಸೆಕೆಂಡ್ സെക്കൻഡ് තත්පර วินาที ວິນາທີ វិនាទី စက္ကန့် վայրկյան"
    " წამ 秒 초 soicind eiliad"
)
_MINUTES = (
    "min mín mîn mnt minit menit minut minuut nóiméad nóim munud mionaid dakik dəqiqə daqiqa deqîqe xulek xülek"
    " phút perc мин мін хвил хвіл λεπ دقيق دقائ دقا دقیق منٹ منٽ منټ دەقیق דק מינוט मिनट मिनेट मिनिट मिन्ट"
    " निमेष মিনিট ਮਿੰਟ મિનિટ ମିନିଟ நிமிட నిమిష ನಿಮಿಷ മിനിറ്റ മിനിട്ട മിനുട്ട മിനിറ විනාඩි මිනිත්තු මිනිත නාට"
    " නาที นาที ນາທີ នាទី မိနစ် րոպե წუთ ደቂቃ 分钟 分鐘 分間 分 분 iminithi mineti daƙiq mintuna daqiiqo"
)
_HOURS = (
    "hour hr stund std stonn uur ure uur. heure hora horas ora ore oră or. time timer timar timm tim klukkust"
    " tím tíma tuntia tunni tunn tund stundu stundas valand godz hodin hodín uro ur. sat sata sati sato óra"
    " óráig órán orë uair awr saat saatl sa soat jam giờ oras saa ordu horo час часа часов годин гадзін сағат"
    " саат цаг соат ώρα ώρες ωρών ωρα ساعة ساعات ساعت گھنٹ ڪلاڪ שעה שעות घंट घण्ट तास ঘণ্টা ঘন্টা ਘੰਟ કલાક"
    " ଘଣ୍ଟା மணி గంట ಗಂಟ മണിക്കൂര പැය පැය ชั่วโมง ຊົ່ວໂມງ ម៉ោង နာရီ ժամ საათ ሰዓት 小时 小時 時間 个小时 시간 h"
)
_DAYS = (
    "day tag tage dag dage dager dagar jour día dia dias días giorn zile zi dní dni dny dzień dan dana nap"
    " napig päivä päiv päev dien dienas ditë lá diwrnod gün gun kun hari ngày araw siku egun tago день дня дней"
    " дні дзён күн өдөр рӯз ημέρ μέρ يوم أيام روز دن ימים יום दिन দিন ਦਿਨ દિવસ ଦିନ நாட் రోజు ದಿನ ദിവസ දින วัน"
    " ມື້ ថ្ងៃ ရက် օր დღე ቀን 天 日間 日 일"
)
# A unit is a whole word where its stem would match too much: "or", "sa", "h", "zi" begin many other words.
_WHOLE = frozenset(
    {"h", "sa", "zi", "lá", "ur.", "or.", "uur.", "sat", "dan", "nap", "ora", "ore", "ure", "saa", "sec", "san"}
)


def _table() -> tuple[tuple[str, int], ...]:
    pairs = [
        (stem, seconds)
        for stems, seconds in ((_SECONDS, 1), (_MINUTES, 60), (_HOURS, 3600), (_DAYS, 86_400))
        for stem in stems.split()
    ]
    # Longest first: "saniye" is a second, "saat" an hour, "sa" the short form of the latter.
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))


_UNITS = _table()
_WORDS = {
    "an": 1, "one": 1, "two": 2, "five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30, "sixty": 60,
    "une": 1, "un": 1, "una": 1, "uma": 1, "eine": 1, "einer": 1, "en": 1, "één": 1, "zehn": 10, "dix": 10, "diez": 10,
    "dez": 10, "dieci": 10, "fünf": 5, "cinq": 5, "cinco": 5, "cinque": 5, "quinze": 15, "quince": 15, "dreißig": 30,
}  # fmt: skip
_NUMBER_UNIT = re.compile(
    r"(?:(?<![A-Za-z0-9_.,:/-])(\d{1,4})|\b([^\W\d_]{2,8})(?=[\s-]))[\s-]{0,2}(?=([^\W\d_][^\s\d.,;:!?()。、，]{0,14}))"
)
_UNIT_NUMBER = re.compile(r"([^\W\d_][^\s\d.,;:!?()。、，]{2,14}) (\d{1,4})(?![A-Za-z0-9:/-])")
_LONGEST = 30 * 86_400


def _unit_seconds(word: str) -> int | None:
    for stem, seconds in _UNITS:
        if word.startswith(stem) and (stem not in _WHOLE or word == stem):
            return seconds
    return None


def durations(text: str) -> list[tuple[int, int]]:
    """Every stretch of time `(place, seconds)` in lower-case text of one line, at most 30 days each.

    The number stands before its unit (or after it, as in Sinhala and Swahili), in digits or as one of a few words.
    """
    found: list[tuple[int, int]] = []
    for match in _NUMBER_UNIT.finditer(text):
        digits, count, word = match.groups()
        number = int(digits) if digits else _WORDS.get(count)
        if number and (unit := _unit_seconds(word)) is not None and number * unit <= _LONGEST:
            found.append((match.start(), number * unit))
    if not found:
        for match in _UNIT_NUMBER.finditer(text):
            word, count = match.groups()
            unit = _unit_seconds(word)
            if unit is not None and unit < 86_400 and 0 < int(count) * unit <= _LONGEST:
                found.append((match.start(), int(count) * unit))
    return found
