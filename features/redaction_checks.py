"""What a pattern cannot tell about a secret: check digits, and whether it looks drawn at random."""

import re


def anything(secret: str) -> bool:
    """Take whatever has the shape."""
    return True


def digit(secret: str) -> bool:
    """Tell whether a digit occurs."""
    return re.search("[0-9]", secret) is not None


def mixed(secret: str) -> bool:
    """Tell whether letters and digits occur, as in a key and seldom in a word."""
    return digit(secret) and re.search("[A-Za-z]", secret) is not None


def cased(secret: str) -> bool:
    """Tell what is encoded from a word: letters of both cases, or letters and digits."""
    return mixed(secret) or (re.search("[a-z]", secret) is not None and re.search("[A-Z]", secret) is not None)


def random(secret: str) -> bool:
    """Tell a key from a hyphenated name such as `sk-estimator-doc-link-2`."""
    long_runs = re.findall("[A-Za-z0-9]{16,}", secret)
    return any(mixed(run) for run in long_runs) or (mixed(secret) and secret != secret.lower())


_CARD_RANGES = re.compile(
    # Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay
    "4(?:[0-9]{15}|[0-9]{18})|(?:5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720))[0-9]*|3[47][0-9]{13}"
    "|3(?:0[0-5]|[689])[0-9]{11,12}|35(?:2[89]|[3-8])[0-9]*|6(?:011|4[4-9]|5|2)[0-9]*"
)


def card(secret: str) -> bool:
    """Tell whether digits are in an issuer's range and pass Luhn's check (ISO/IEC 7812-1, annex B)."""
    digits = re.sub("[ -]", "", secret)
    if _CARD_RANGES.fullmatch(digits) is None:
        return False
    doubled = sum(sum(divmod(2 * int(sign), 10)) for sign in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + doubled) % 10 == 0


def iban(secret: str) -> bool:
    """Tell whether the check digits fit: the number, rearranged and spelt in digits, is 1 modulo 97 (ISO 13616)."""
    text = secret.replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


_IBAN_COUNTRIES = {  # length: countries (SWIFT's IBAN registry)
    15: "NO", 16: "BE", 18: "DK|FI|FK|FO|GL|NL|SD", 19: "MK|SI", 20: "AT|BA|EE|KZ|LT|LU|MN|XK", 21: "CH|HR|LI|LV",
    22: "BG|BH|CR|DE|GB|GE|IE|ME|RS|VA", 23: "AE|GI|IL|IQ|OM|SO|TL", 24: "AD|CZ|ES|MD|PK|RO|SA|SE|SK|TN|VG",
    25: "LY|PT|ST", 26: "IS|TR", 27: "BI|DJ|FR|GR|IT|MC|MR|SM", 28: "AL|AZ|BY|CY|DO|GT|HU|LB|NI|PL|SV",
    29: "BR|EG|PS|QA|UA", 30: "JO|KW|MU|YE", 31: "MT|SC", 32: "LC", 33: "RU",
}  # fmt: skip


def iban_shape() -> str:
    """Return one alternative a length, in groups of four, so that a capitalised word behind it is not taken along."""

    def shape(length: int, countries: str) -> str:
        fours, rest = divmod(length - 4, 4)
        last = f" ?[A-Z0-9]{{{rest}}}" if rest else ""
        return f"(?:{countries})[0-9]{{2}}(?: ?[A-Z0-9]{{4}}){{{fours}}}{last}"

    return "|".join(shape(length, countries) for length, countries in _IBAN_COUNTRIES.items())


def phone(secret: str) -> bool:
    """Tell a phone number from a signed decimal and from a row of small numbers."""
    single = sum(len(group) == 1 for group in re.findall("[0-9]+", secret))
    return single <= 2 and re.fullmatch(r"\+[0-9]+\.[0-9]+", secret) is None
