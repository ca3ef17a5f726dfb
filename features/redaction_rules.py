r"""What is taken out of a prompt before it is stored: a table of rules, each with the shape that it looks for.

A rule works on text as it lies in the lake, which is mostly JSON: no secret holds a quote, a bracket or half of an
escape, so what is left stays JSON of the same structure. `\n` before a secret is two characters there, and the `n` is
neither a letter before it nor its first; `_start` knows.

A megabyte of hostile text may not cost more than a megabyte of prose; the tests read off the parsed patterns that every
repeat is bounded, or is possessive with nothing behind it that could fail. Classes are explicit, since `\w`, `\b` and
`\s` differ between RE2 and `re`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from features import redaction_checks as checks

_BLANK = "[ \t\xa0]"
_TOKEN = "[A-Za-z0-9_-]"
_BASE64 = "[A-Za-z0-9+/=._~-]"
_CREDENTIALS = r"(?:[A-Za-z0-9+/=_~-]|\.(?=[A-Za-z0-9]))"  # RFC 9110's token68, without the full stop of a sentence
# Latin, Greek, Cyrillic: a script without spaces would drag its sentence into the address.
_LETTER = "A-Za-zÀ-ɏͰ-ӿ"
_LOCAL = f"{_LETTER}0-9._+-"
_LABEL = f"[{_LETTER}0-9-]"
_QUOTE = r"""\\{0,8}["']"""  # JSON within JSON within JSON needs seven
_NO_QUOTE = r"""[^ \t\r\n"'\\<>{}\[\]]"""


def _start(first: str, excluded: str = "A-Za-z0-9") -> str:
    r"""Return where a secret that begins so may begin: not after these, unless they end a JSON escape or a %XX.

    It never begins with the letter of an escape, whatever the number of backslashes: in JSON within JSON, `\\n` is a
    backslash and an n, but a newline to who reads the inner one. The lookahead changes no match; it only fails sooner
    at most letters than looking back does.
    """
    escape = r"(?!(?<=\\)(?:[bfnrt]|u[0-9a-fA-F]{4}))"
    after_escape = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2})"
    return f"(?={first}){escape}(?:(?<![{excluded}])|{after_escape})"


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of secret. Its name in `RULES` is what stands in the secret's place: `[redacted:name]`."""

    shape: str
    """What is taken out, a pattern of `re`; it never matches a quote, a bracket or a part of an escape."""
    hint: str
    """What every match contains, in the syntax that RE2 shares with `re`: may match more, never less."""
    before: str = ""
    """What stands before the secret and is kept."""
    after: str = ""
    """What must follow: a lookahead."""
    valid: Callable[[str], bool] = checks.anything
    """Decides by the secret what a pattern cannot."""


def _issued(first: str, *forms: str, valid: Callable[[str], bool] = checks.anything) -> Rule:
    """Return the rule for tokens that their issuer marks with a prefix; the least of each form is its hint."""
    shape = "|".join(forms)
    return Rule(shape=shape, hint=shape.replace(",}+", "}"), before=_start(first), valid=valid)


def _assigned(names: str, least: int, valid: Callable[[str], bool]) -> Rule:
    """Return the rule for the value, of at least so many characters, that is assigned to one of these names.

    A quote that closes the name demands one that opens the value, since `"password": 12345678` in JSON is a number. A
    quote before the value may instead end a string that ends in `password=`; a comma, colon or bracket follows it then.
    """
    annotation = f"{_BLANK}{{0,8}}:{_BLANK}{{0,4}}(?:str|[Ss]tring)"
    sign = f"{_BLANK}{{0,8}}[:=>]{{1,3}}{_BLANK}{{0,8}}"
    elsewhere = "(?:args|cfg|conf|config|env|options|os|params|process|req|request|self|settings|this)"
    return Rule(
        before=f"{names}(?:(?P<key>{_QUOTE})|{annotation}(?={_BLANK}{{0,4}}=))?{sign}"
        rf"(?P<quote>{_QUOTE})?(?(key)(?(quote)|(?!)))(?![,:]|\$[A-Za-z]|%[sd(]|{elsewhere}\.)",
        shape=f"(?(quote){_NO_QUOTE}{{{least},4096}}+|[A-Za-z0-9_./+=~!@#%^*$-]{{{least},4096}}+)",
        after=r"(?!\(|\[(?!redacted:))",  # a call or an index: the value is computed, not written here
        hint=f"{names}(?:{annotation}|{_QUOTE})?{sign}(?:{_QUOTE})?{_NO_QUOTE}{{6}}",
        valid=valid,
    )


_AUTHORIZATION = (
    f"(?i:authorization)(?:{_QUOTE})?{_BLANK}{{0,8}}[:=]{_BLANK}{{0,8}}(?:{_QUOTE})?"
    f"(?i:apikey|basic|bearer|negotiate|token){_BLANK}{{1,8}}"
)
_BEARER = f"(?i:bearer){_BLANK}{{1,8}}"
_PEM_HEADER = r"""[A-Z][A-Za-z-]{1,20}: [^"'\\\r\n{}\[\]]{1,80}"""

# The order matters: what names its issuer comes before what only looks like a secret from its surroundings.
RULES: dict[str, Rule] = {
    # RFC 7468, RFC 9580: PKCS#1, PKCS#8, EC, OpenSSH, PGP; newlines may be escapes, and a log may have cut the end.
    "private_key": Rule(
        shape=r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        rf"(?:[A-Za-z0-9+/=]|\\{{1,8}}/|(?:\\{{1,8}}[nrt]|[\r\n\t])[ \t]{{0,40}}(?:{_PEM_HEADER})?)*+"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
        hint="-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY",
    ),
    # RFC 3986, userinfo: the login of a database or a proxy. The password may hold an @.
    "url_login": Rule(
        before=r":\\{0,8}/\\{0,8}/",
        shape=r"""[^ \t\r\n"'\\/@:<>{}\[\]]{0,64}:[^ \t\r\n"'\\/<>{}\[\]]{1,128}""",
        after="(?=@)",
        hint=r"""/[^ \t\r\n"'\\/@:<>{}\[\]]{0,64}:[^ \t\r\n"'\\/<>{}\[\]]{1,128}@""",
    ),
    # RFC 7519: base64url of {"..., hence eyJ, of the claims, and mostly a signature. RFC 7516: five parts.
    "jwt": Rule(
        before=_start("eyJ", "A-Za-z0-9_-"),
        shape=rf"eyJ{_TOKEN}{{8,2048}}+\.(?:{_TOKEN}{{0,8192}}+(?:\.{_TOKEN}++){{1,3}}+|eyJ{_TOKEN}{{4,}}+)",
        hint=f"eyJ{_TOKEN}{{8}}",
    ),
    # sk-ant-api03-, sk-ant-admin01-
    "anthropic_key": _issued("sk-ant", f"sk-ant-{_TOKEN}{{16,}}+"),
    # sk- (48 letters and digits), sk-proj-, sk-svcacct-, sk-admin-; so do DeepSeek, OpenRouter and LiteLLM's proxy.
    "openai_key": _issued("sk-", f"sk-{_TOKEN}{{20,}}+", valid=checks.random),
    # API key, OAuth access token, OAuth client secret
    "google_key": _issued("[AGy]", f"AIza{_TOKEN}{{35,}}+", rf"ya29\.{_TOKEN}{{20,}}+", f"GOCSPX-{_TOKEN}{{20,}}+"),
    # IAM's "unique identifiers": AKIA is long lived, ASIA from STS. The secret of the pair has no shape of its own;
    # `credential` takes it where it is assigned.
    "aws_key_id": Rule(
        before=_start("A"),
        shape="(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
        after="(?![A-Za-z0-9])",  # a protein is spelt in the same letters
        hint="A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}",
    ),
    # ghp_ personal, gho_ OAuth, ghu_ and ghs_ apps, ghr_ refresh; github_pat_ fine-grained
    "github_token": _issued("g", "gh[pousr]_[A-Za-z0-9]{36,}+", "github_pat_[A-Za-z0-9_]{22,}+"),
    # glpat- personal, gldt- deploy, glrt- runner and their kin
    "gitlab_token": _issued(
        "gl", f"gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-{_TOKEN}{{20,}}+", valid=checks.mixed
    ),
    # xoxb- bot, xoxp- user and their kin; xapp- application
    "slack_token": _issued("x", "(?:xox[abceoprs]|xapp)-[A-Za-z0-9-]{10,}+", valid=checks.digit),
    # secret and restricted keys, webhooks; pk_ is made to be published
    "stripe_key": _issued("[rsw]", "(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}+", valid=checks.cased),
    # hf_ and 34 letters
    "huggingface_token": _issued("hf_", "hf_[A-Za-z0-9]{30,}+", valid=checks.cased),
    # Groq, xAI, Perplexity, Replicate, Together
    "model_host_key": _issued(
        "[gxprt]",
        "gsk_[A-Za-z0-9]{40,}+",
        "xai-[A-Za-z0-9]{60,}+",
        "pplx-[A-Za-z0-9]{40,}+",
        "r8_[A-Za-z0-9]{36,}+",
        f"tgp_v1_{_TOKEN}{{40,}}+",
        valid=checks.mixed,
    ),
    # npm, PyPI (a macaroon), SendGrid, DigitalOcean, a Telegram bot
    "service_token": _issued(
        "[npSd0-9]",
        "npm_[A-Za-z0-9]{36,}+",
        f"pypi-AgEI{_TOKEN}{{40,}}+",
        rf"SG\.{_TOKEN}{{22}}\.{_TOKEN}{{43,}}+",
        "do[opr]_v1_[0-9a-f]{64,}+",
        f"[0-9]{{8,10}}:AA{_TOKEN}{{33,}}+",
        valid=checks.mixed,
    ),
    # RFC 9110, 11.6.2: the header as HTTP, JSON, Python or curl write it
    "authorization": Rule(
        before=_AUTHORIZATION,
        shape=f"{_CREDENTIALS}{{8,}}+",
        hint=f"{_AUTHORIZATION}{_BASE64}{{8}}",
        valid=checks.cased,
    ),
    # RFC 6750: the scheme without its header; "bearer authentication" is prose
    "bearer_token": Rule(
        before=_start("[Bb]") + _BEARER,
        shape=f"{_CREDENTIALS}{{16,}}+",
        hint=f"{_BEARER}{_BASE64}{{16}}",
        valid=checks.mixed,
    ),
    # password = ..., "pwd": "...", <passwd>...; "password: required" has no digit
    "password": _assigned("(?i:pass(?:word|wd|phrase)|pwd)", 6, checks.digit),
    # api_key = ..., client_secret: ..., X-API-Key: ..., AccountKey=..., aws_secret_access_key=...
    "credential": _assigned(
        "(?i:secret|token|credentials?|authorization"
        "|(?:api|access|account|auth|encryption|license|private|secret|signing|subscription)[ _-]?key)",
        12,
        checks.mixed,
    ),
    # RFC 5321, in the letters of Europe, also with %40. Not git@host, pkg@1.2.3-rc.a, icon@2x.png, w@x.shape.
    "email": Rule(
        before=_start(f"[{_LOCAL}]", f"%{_LOCAL}") + "(?!git@)",
        shape=rf"[{_LOCAL}]{{1,64}}+(?:@|%40)(?![0-9]{{1,9}}\.[0-9]|[0-9]x\.)(?:{_LABEL}{{1,63}}\.){{1,8}}"
        r"(?!(?:astype|bias|dtype|flatten|grad|mean|ndim|reshape|shape|size|sum|transpose|values|weight)(?![A-Za-z]))"
        rf"(?:xn--[a-z0-9-]{{1,59}}|[{_LETTER}]{{2,24}})",
        hint=rf"[{_LOCAL}](?:@|%40){_LABEL}{{1,63}}\.[{_LETTER}0-9-]{{2}}",
    ),
    # ISO/IEC 7812: 14 to 19 digits, together or in the groups that are embossed. `opens` and `closes` stand around what
    # may be a number of JSON.
    "card": Rule(
        before=r"(?=[:,\[2-6])(?P<opens>[:,\[][ \t\r\n]{0,1024}+-?)?(?<![eE][+-])" + _start("[2-6]", "A-Za-z0-9."),
        shape=r"[2-6][0-9]{3}(?P<gap>[ -]?)(?:[0-9]{6}(?P=gap)[0-9]{4,5}(?![0-9])"
        r"|[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}(?:(?P=gap)[0-9]{3})?(?![0-9]))",
        after=r"(?![A-Za-z]|\.[0-9])(?P<closes>(?=[ \t\r\n]{0,1024}+[,}\]]))?",
        hint="[2-6][0-9]{3}[ -]?[0-9]{4}(?:[ -]?[0-9]{4}[ -]?[0-9]{2}|[0-9]{2}[ -][0-9]{4})",
        valid=checks.card,
    ),
    # ISO 13616
    "iban": Rule(
        before=_start("[A-Z]{2}[0-9]"),
        shape=checks.iban_shape(),
        after="(?![A-Z0-9])",
        hint="[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4} ?[A-Z0-9]{3}",
        valid=checks.iban,
    ),
    # E.164, 9 to 15 digits, only with its +: national numbers look like the numbers of a sum
    "phone": Rule(
        before=_start(r"\+", "A-Za-z0-9_)+."),
        shape=r"\+[1-9](?:[ .()-]{0,2}[0-9]){8,14}+",
        hint=r"\+[1-9](?:[ .()-]{0,2}[0-9]){8}",
        valid=checks.phone,
    ),
    # US social security number in the ranges ever issued; only with its hyphens, since nine digits are any number
    "us_ssn": Rule(
        before=_start("[0-9]", "A-Za-z0-9.-"),
        shape="(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}",
        after="(?![A-Za-z0-9-])",
        hint="[0-9]{3}-[0-9]{2}-[0-9]{4}",
    ),
}
