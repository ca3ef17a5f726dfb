"""Secrets out of text: each rule takes its own and leaves what only looks alike, and JSON stays what it was."""

import json
import re
import re._constants as sre
import re._parser
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.redaction import _pattern, keyed_hash, redact, redact_column
from features.redaction_rules import RULES


def body(length: int, alphabet: str = "aB3dE6gH9jK2mN5pQ8sT1uV4wX7yZ0") -> str:
    """Secrets are put together here, so that no scanner takes this file for a leak."""
    return (alphabet * (length // len(alphabet) + 1))[:length]


UPPER = "A2BC3DE4FG5HI6JK7L"
HEX = "0a1b2c3d4e5f6789"
DASHES = "-" * 5
BEGIN, END = (f"{DASHES}{word} RSA PRIVATE KEY{DASHES}" for word in ("BEGIN", "END"))
PEM = "\n".join([BEGIN, body(64), body(64), body(20) + "==", END])
PGP = "\n".join(["BEGIN", "Version: GnuPG v2", "", body(64), "=aB3d", "END"])
PGP = re.sub("(BEGIN|END)", rf"{DASHES}\1 PGP PRIVATE KEY BLOCK{DASHES}", PGP)
JWT = ".".join(["ey" + "JhbGciOiJIUzI1NiJ9", "ey" + "JzdWIiOiIxIn0", body(43)])

# rule: (text before, secret, text after)
SECRETS: dict[str, list[tuple[str, str, str]]] = {
    "private_key": [("my key:\n", PEM, "\nwhat is wrong?"), ("", PGP, ""), ("cut ", PEM[:90], " …")],
    "url_login": [
        ("postgres://", "ada:hunter2", "@db:5432/x"), ("redis://", ":hunter2", "@h"), ("https://", "a:p@ss", "@h"),
        (r"https:\/\/", "ada:pw", "@h"),
    ],
    "jwt": [("token is ", JWT, ", expired"), ("cookie=", JWT, ";"), ("", JWT, "."), ("", JWT.rsplit(".", 1)[0], ". ")],
    "anthropic_key": [("use ", "sk-" + "ant-api03-" + body(90), " now"), ("\n", "sk-" + "ant-" + body(20), "\n")],
    "openai_key": [
        ("key ", "sk-" + body(48), "."), ("'", "sk-" + "proj-" + body(120), "'"),
        ("", "sk-" + "svcacct-" + body(40), ""),
        ("deepseek ", "sk-" + body(32, HEX), " ok"), ("litellm ", "sk-" + "aB3-dE6_gH9jK2mN5-pQ8s", "\n"),
        ("?key%3D", "sk-" + body(48), "&x=1"),
    ],
    "google_key": [
        ("?key=", "AI" + "za" + body(35), "&q=1"), ("", "ya" + "29." + body(60), ""),
        ("", "GOC" + "SPX-" + body(28), " "),
    ],
    "aws_key_id": [("id ", "AK" + "IA" + body(16, UPPER), ","), ("", "AS" + "IA" + body(16, UPPER), "")],
    "github_token": [
        ("https://", "gh" + "p_" + body(36), "@github.com/a/b"), ("", "github_" + "pat_" + body(82), ""),
    ],
    "gitlab_token": [("PRIVATE-TOKEN ", "gl" + "pat-" + body(20), "\n")],
    "slack_token": [("bot ", "xo" + "xb-123456789012-" + body(24), " ")],
    "stripe_key": [
        ("", "sk_" + "live_" + body(24), ""), (" ", "rk_" + "test_" + body(24), ""),
        ("", "wh" + "sec_" + body(32), ""),
    ],
    "huggingface_token": [("login ", "h" + "f_" + body(34, "aBcDeFgHiJ"), "\n")],
    "model_host_key": [
        ("groq ", "gs" + "k_" + body(52), ""), ("x ", "xa" + "i-" + body(80), ""), ("", "r" + "8_" + body(37), ""),
    ],
    "service_token": [
        ("", "np" + "m_" + body(36), ""), ("", "py" + "pi-AgEI" + body(60), ""),
        ("", "S" + "G." + body(22) + "." + body(43), ""),
        ("bot ", "123456789" + ":AA" + body(33), "/getMe"), ("", "do" + "p_v1_" + body(64, HEX), ""),
    ],
    "authorization": [
        ("Authorization: Basic ", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "\nHost: x"),
        ('{"authorization": "Bearer ', body(12), '"}'), ("curl -H 'Authorization: token ", body(40, HEX), "'"),
    ],
    "bearer_token": [("sends Bearer ", body(32), "."), ("a bearer ", body(20, HEX), " b")],
    "password": [
        ("password: ", "hunter2", "\nuser: ada"), ('{"password": "', "hunter 2".replace(" ", "_"), '"}'),
        ("DB_PASSWORD=", "s3cr3t!x", " ./run"), ("pwd = '", "né3§§§", "'"), ("<password>", "hunter2", "</password>"),
        ('password: str = "', "hunter22", '"'), ("passphrase => ", "12345678", ""),
    ],
    "credential": [
        ("api_key=", body(20), "&q=1"), ('"client_secret": "', body(24), '",'), ("X-API-Key: ", body(32, HEX), "\n"),
        ("AccountKey=", body(86) + "==", ";"),
        ("aws_secret_access_key = ", "wJa" + "1rXUtn/K7MDENG+" + body(22), "\n"),
        ("session token: ", body(16), " "), ("API key: '", body(16), "'"),
    ],
    "email": [
        ("mail ", "ada.lovelace+x@mail.example.org", ", please"), ("<", "a@b.io", ">"), ("", "müller@straße.de", ""),
        ("?to=", "ada%40example.org", "&x"), ("mailto:", "ADA@EXAMPLE.ORG", "."), ("请联系", "ada@example.cn", "谢谢"),
        ("x@y and ", "ada@xn--bcher-kva.example", "!"),
    ],
    "card": [
        ("card ", "4111 1111 1111 1111", " exp 12/29"), ("", "5555-5555-5555-4444", ""),
        ("amex ", "3782 822463 10005", "."),
        ("pay with ", "4111111111111111", "!"), ("", "30569309025904", ""), ("4234 ", "4111 1111 1111 1111", " 5"),
    ],
    "iban": [
        ("to ", "DE89 3704 0044 0532 0130 00", " BIC COBADEFF"), ("", "GB82WEST12345698765432", ""),
        ("", "NO93 8601 1117 947", "."),
    ],
    "phone": [
        ("call ", "+44 20 7946 0958", "."), ("tel:", "+14155550123", ""), ("", "+33 1 23 45 67 89", " or"),
        ("", "+1 (415) 555-0123", ""),
    ],
    "us_ssn": [("ssn ", "123-45-6789", ".")],
}  # fmt: skip

# rule: what it might take and must not; nor may another rule.
LOOKALIKES: dict[str, list[str]] = {
    "private_key": [DASHES + "BEGIN CERTIFICATE" + DASHES + "\n" + body(64), DASHES + "BEGIN PUBLIC KEY" + DASHES],
    "url_login": [
        "http://localhost:8080/@user", "https://example.org:443/a@b", "git clone ssh://git@github.com/a/b",
        "a://b:c d@e",
    ],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9", "heyJude123.eyJhbGciOi.abc", "eyJ.a.b"],
    "anthropic_key": ["sk-ant-hill", "desk-ant-" + body(20)],
    "openai_key": [
        "sk-learn", "a risk-adjusted-return-on-capital", "class='sk-toggleable__content sk-estimator-doc-link-2'",
        "task-" + body(30), "sk-" + "proj-key", "sk-or-a-very-long-name-of-words",
    ],
    "google_key": ["AIza" + body(20), "MAIza" + body(35), "ya29.short"],
    "aws_key_id": ["AKIA1234", "XAKIA" + body(16, UPPER), "AKIA" + body(40, UPPER), "asia" + body(16, HEX)],
    "github_token": ["ghp_short", "ghp_" + "_".join(["name"] * 10), "github_pat_x"],
    "gitlab_token": ["glpat-short", "glft-words-that-go-on-and-on-here"],
    "slack_token": ["xoxb-", "xoxo-kisses-and-hugs", "xoxb-words-only-here"],
    "stripe_key": [
        "pk_" + "live_" + body(24), "\r" + "k_live_" + body(24), "sk_live_short", "task_test_" + body(20),
        "rk_test_" + "lowercasename" * 2,
    ],
    "huggingface_token": ["hf_hub_download", "hf_" + "lowercase" * 4, "self_" + body(34)],
    "model_host_key": ["gsk_short", "xai-colours", "r8_" + body(10), "pplx-70b-online"],
    "service_token": ["npm_config_registry", "pypi-AgEI", "SG.a.b", "10:AA"],
    "authorization": [
        "Authorization: Bearer YOUR_API_KEY".lower(), "authorization: basic", "Authorization: Bearer <token>",
    ],
    "bearer_token": ["bearer authentication-mechanisms", "Bearer short1", "forbearer " + body(20)],
    "password": [
        "password: required", "password = get_password(user1)",
        "password=request.form.password1", 'if password == "":',
        "The password: at least eight characters", '{"password": "string"}', "password=$DB_PASSWORD1",
        "pwd: /srv/data/ada",
        "password = passwords[0123456]", "password:\n1234567", '{"password": 12345678}',
        '{"password": null, "b": 1234567}',
    ],
    "credential": [
        "max_tokens: 4096", "api_key = os.environ['OPENAI_KEY_1']", "token: required", "secret: short1",
        "tokens = 123456789012a",
        "api_key=${API_KEY_1_SECRET}", "token = tokenizer.encode1234(text)",
        "the secret of 123 things", "credentİal: " + body(16), '{"token": 1.5e1000000000}',
    ],
    "email": [
        "@app.route('/')", "x = w@x.shape", "npm i lodash@4.17.21 react@18.0.0-rc.alpha", "icon@2x.png",
        "git@github.com:a/b.git",
        "follow @ada.lovelace", "a@b", "A @ B.T", "decorated\n@pytest.fixture", "user@localhost",
    ],
    "card": [
        "4111 1111 1111 1112", "1234567890123456", "3.4111111111111111", "4111111111111111e5", "1764083234123",
        "41111111111111111",
        "id-12345678-4111-4111-4111-411111111111", "0000 0000 0000 0000", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "4111111111111111.25",
        "9999999999999995",
    ],
    "iban": ["DE89 3704 0044 0532 0130 01", "ZZ89370400440532013000", "DE89 3704", "SHA256ABCDEF0123456789ABCDEF"],
    "phone": [
        "+3.14159265358979", "x+14155550123", "+1 2 3 4 5 6 7 8 9 1", "1e+1000000000", "(a)+123456789", "555-0123",
        "+0123456789",
    ],
    "us_ssn": [
        "000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000", "2026-03-01", "1123-45-6789",
        "123-45-67890",
    ],
}  # fmt: skip

ORDINARY = [
    "550e8400-e29b-41d4-a716-446655440000",
    "d41d8cd98f00b204e9800998ecf8427e e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "2026-03-01T12:30:45.123456Z to 2026-03-02T00:00:00+00:00",
    "v1.2.3-beta.4, python 3.11.9, 10.0.0.1:8080, fe80::1ff:fe23:4567:890a",
    "What is 123456789 * 987654321? Is it 121932631112635269?",
    "Let x_1 = 3.14159265358979, x_2 = -2.71828e-10, and 12! = 479001600.",
    "def token_count(tokens: list[str]) -> int: return len(tokens)  # api_key_v2, secret_santa",
    "SELECT id, password_hash FROM users WHERE token IS NULL AND id = 42;",
    "3 + 4 = 7; 10^12 / 7; (5, 6, 7); 1,000,000; 16 18 20 22 24 26 28 30 32",
    "\\frac{1}{2} \\nabla \\beta \\theta \\rightarrow C:\\users\\new\\bin",
    "שלום 😀 مرحبا \u200f\u202e \xa0\u2028\x00\x1f end",
    "",
]


def found(name: str, text: str) -> list[str]:
    secrets = (match["secret"] for match in _pattern(name).finditer(text))
    return [secret for secret in secrets if RULES[name].valid(secret)]


def hinted(name: str, text: str) -> bool:
    return bool(pc.match_substring_regex(pa.array([text]), RULES[name].hint)[0].as_py())


def test_every_rule_has_secrets_and_lookalikes() -> None:
    assert SECRETS.keys() == LOOKALIKES.keys() == RULES.keys()
    assert all(SECRETS.values())
    assert all(LOOKALIKES.values())


@pytest.mark.parametrize(
    ("name", "before", "secret", "after"), [(n, *row) for n, rows in SECRETS.items() for row in rows]
)
def test_a_secret_becomes_its_marker_and_nothing_else_changes(name: str, before: str, secret: str, after: str) -> None:
    want = f"{before}[redacted:{name}]{after}"
    assert redact(before + secret + after) == (want, Counter({name: 1}))
    text = json.dumps({"content": before + secret + after}, ensure_ascii=False)
    if "\\" not in before:
        assert json.loads(redact(text)[0]) == {"content": want}


@pytest.mark.parametrize("text", [*(text for texts in LOOKALIKES.values() for text in texts), *ORDINARY])
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert redact(text) == (text, Counter())
    for ascii_only in (False, True):
        dumped = json.dumps([text, {"content": text}], ensure_ascii=ascii_only)
        assert redact(dumped) == (dumped, Counter())


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('{"card": 4111111111111111, "n": [-4111111111111111,4111111111111111]}', '{"card": 0, "n": [-0,0]}'),
        ('{"card": "4111111111111111"}', '{"card": "[redacted:card]"}'),
        ('{"exponent": 1e-4111111111111111}', '{"exponent": 1e-4111111111111111}'),
    ],
)
def test_a_number_of_json_stays_a_number(text: str, want: str) -> None:
    assert redact(text)[0] == want


def test_several_secrets_are_counted_by_rule() -> None:
    text, counts = redact("a@b.io c@d.io 123-45-6789")
    assert text == "[redacted:email] [redacted:email] [redacted:us_ssn]"
    assert counts == Counter({"email": 2, "us_ssn": 1})


# --- JSON -------------------------------------------------------------------------------------------------------------

PLANTED = [
    (name, *row) for name, rows in SECRETS.items() for row in rows
    # A cut key ends where its letters do, bare digits may become a number, and \\u00fc hides a letter of an address.
    if "cut" not in row[0] and row[1].isascii() and not (name == "card" and row[1].isdigit())
]  # fmt: skip
QUIET = st.text(st.sampled_from("abtnru \n\t\"\\/'{}[]<>,.;:=#é漢😀ש\u2028\x01\x1f\xa0-"), max_size=12)
NEIGHBOURS = [" ", "\n", '"', "\\ ", "\t", "😀 ", "\x01", "\u2028", "\r\n", "' "]
LEFT = st.sampled_from([*NEIGHBOURS, "\\", "😀", "שלום"])
RIGHT = st.sampled_from(NEIGHBOURS)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, str]:
    """A text with secrets, and the same with their markers."""
    text = want = draw(QUIET)
    for name, before, secret, after in draw(st.lists(st.sampled_from(PLANTED), max_size=4)):
        left, right, between = draw(LEFT), draw(RIGHT), draw(QUIET)
        if left == "\\" and (before + secret)[0] in "bfnrtu":
            left = " "  # a newline and `pm_…` could be meant, docs/privacy.md
        text += left + before + secret + after + right + between
        want += f"{left}{before}[redacted:{name}]{after}{right}{between}"
    return text, want


def nested(value: Any, depth: int, ascii_only: bool) -> str:
    for _ in range(depth):  # arguments of a tool call are JSON within JSON
        value = {"arguments": json.dumps(value, ensure_ascii=ascii_only)}
    return json.dumps(value, ensure_ascii=ascii_only)


def unnested(text: str, depth: int) -> Any:
    value = json.loads(text)
    for _ in range(depth):
        value = json.loads(value["arguments"])
    return value


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_secret_is_found_between_all_neighbours(depth: int, ascii_only: bool) -> None:
    rows = [(left, *row, right) for row in PLANTED for left in NEIGHBOURS for right in NEIGHBOURS]
    texts = [
        nested([left + before + secret + after + right], depth, ascii_only)
        for left, _, before, secret, after, right in rows
    ]
    for row, text in zip(rows, redact_column(pa.array(texts))[0].to_pylist(), strict=True):
        left, name, before, _, after, right = row
        assert unnested(text, depth) == [f"{left}{before}[redacted:{name}]{after}{right}"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(planted(), planted()), max_size=3), st.booleans(), st.integers(0, 2))
def test_planted_secrets_leave_json_and_nothing_else_does(
    rows: list[tuple[tuple[str, str], tuple[str, str]]], ascii_only: bool, depth: int
) -> None:
    text = nested(
        [{"role": "user", "content": [{"text": one}], "name": two} for (one, _), (two, _) in rows], depth, ascii_only
    )
    want = [{"role": "user", "content": [{"text": one}], "name": two} for (_, one), (_, two) in rows]
    assert unnested(redact(text)[0], depth) == want


PIECES = [
    "password", "token", "api_key", "Authorization: Bearer ", "bearer ", "=", ":", ": ", '"', "'", "\\",
    "\\\\", "n", "u00e9", "\n", "é", " ", ",", "{", "}", "[", "]", "(", "/", "://", "@", "%40", "hunter22x",
    "12345678", "1.5e10", "ada@b.io", ".com", "\x01", "😀", "4111111111111111", "4111 1111 1111 1111", "-", "+",
    "+44 20 7946 0958", "123-45-6789", "ſ", "\u212a", "DE89370400440532013000", PEM[:40], END, body(16),
    body(64), "sk-", "ey" + "J", ".", "AK" + "IA", body(16, UPPER), "h" + "f_", "gs" + "k_",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
NUMBERS = st.sampled_from([4111111111111111, -4111111111111111, 12345678, 1.5e10, 0, None, True])
VALUES = st.recursive(
    HOSTILE | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=6,
)


def outline(value: Any) -> Any:
    """What a redaction may not change: nesting, kinds, numbers (but for cards), lengths."""
    if isinstance(value, dict):
        return [outline(item) for item in value.values()]
    if isinstance(value, list):
        return [[outline(item) for item in value]]
    if isinstance(value, str) or (isinstance(value, int) and abs(value) in (0, 4111111111111111)):
        return type(value)
    return value


@settings(max_examples=100, deadline=None)
@given(VALUES, st.booleans(), st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", "  :  ")]))
@example({"password=": 12345678}, False, (",", ":"))
@example(["password=", 12345678], False, (",", ":"))
@example({"password": 1.5e10}, False, (", ", ": "))
@example("\\\nada@b.io", False, (", ", ": "))
@example("\u00e94111 1111 1111 1111", True, (", ", ": "))
def test_hostile_json_keeps_its_structure(value: Any, ascii_only: bool, separators: tuple[str, str]) -> None:
    # A key may become the marker of another, so objects are read as pairs.
    text = json.dumps([value], ensure_ascii=ascii_only, separators=separators)
    pairs = [
        json.loads(t, object_pairs_hook=lambda p: {i: v for i, (_, v) in enumerate(p)}) for t in (text, redact(text)[0])
    ]
    assert outline(pairs[0]) == outline(pairs[1])


# --- columns ----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | HOSTILE | planted().map(lambda pair: pair[0]) | st.text(max_size=20), max_size=6),
    st.integers(0, 6),
)
def test_a_column_is_redacted_as_its_rows_are(texts: list[str | None], cut: int) -> None:
    want = [None if text is None else redact(text)[0] for text in texts]
    counts = sum((redact(text)[1] for text in texts if text is not None), Counter[str]())
    for kind in (pa.string(), pa.large_string()):
        chunked = pa.chunked_array([pa.array(texts[:cut], kind), pa.array(texts[cut:], kind)])
        for column in (pa.array(texts, kind), chunked, pa.array(["x", *texts], kind).slice(1)):
            got, seen = redact_column(column)
            assert got.type == kind
            assert got.to_pylist() == want
            assert seen == counts


@settings(max_examples=100, deadline=None)
@given(HOSTILE | planted().map(lambda pair: pair[0]))
def test_re2_suspects_whatever_a_rule_would_take(text: str) -> None:
    for name in RULES:
        assert hinted(name, text) or not found(name, text), name


@pytest.mark.parametrize("name", RULES)
def test_a_hint_is_not_silent_about_its_own_secrets(name: str) -> None:
    for before, secret, after in SECRETS[name]:
        assert hinted(name, before + secret + after)
        assert hinted(name, json.dumps(before + secret + after, ensure_ascii=False))
    assert not hinted(name, "an ordinary question about ordinary things")


@settings(max_examples=100, deadline=None)
@given(planted().map(lambda pair: pair[1]))
def test_a_marker_is_left_as_it_is(text: str) -> None:
    assert redact(text) == (text, Counter())


def test_an_empty_column_stays_empty() -> None:
    for column in (pa.array([], pa.string()), pa.chunked_array([], pa.string()), pa.array([None], pa.string())):
        assert redact_column(column)[0].to_pylist() == column.to_pylist()


def test_a_column_of_other_things_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot redact a column of int64; cast it to string"):
        redact_column(pa.array([1]))


# --- hostile length ---------------------------------------------------------------------------------------------------


def unbounded(nodes: Any, last: bool) -> bool:
    """Whether a parsed pattern repeats without bound where something behind it may yet fail."""
    items = list(nodes)
    for i, (code, value) in enumerate(items):
        behind = items[i + 1 :]
        tail = last and all(c in (sre.MAX_REPEAT, sre.POSSESSIVE_REPEAT) and v[0] == 0 for c, v in behind)
        if code in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            _, most, inner = value
            endless = most > 8192
            if endless and not (code is sre.POSSESSIVE_REPEAT and tail):
                return True
            if unbounded(inner, tail and code is sre.POSSESSIVE_REPEAT):
                return True
        elif any(unbounded(part, tail) for part in parts(code, value)):
            return True
    return False


def parts(code: Any, value: Any) -> list[Any]:
    if code is sre.BRANCH:
        return list(value[1])
    if code is sre.SUBPATTERN:
        return [value[-1]]
    if code is sre.GROUPREF_EXISTS:
        return [part for part in value[1:] if part is not None]
    if code in (sre.ASSERT, sre.ASSERT_NOT):
        return [value[1]]
    return [value] if code is sre.ATOMIC_GROUP else []


@pytest.mark.parametrize("name", RULES)
def test_no_rule_repeats_without_bound(name: str) -> None:
    assert not unbounded(re._parser.parse(_pattern(name).pattern, re.ASCII), last=True)


@pytest.mark.parametrize("pattern", ["(?:a+)+b", "a*b", "(?:ab)*+c", "(?:a|b*)c", "a*", "(?=a*+)b", "(?:a*+b){2}"])
def test_a_pattern_that_may_explode_would_be_noticed(pattern: str) -> None:
    assert unbounded(re._parser.parse(pattern), last=True)


@pytest.mark.parametrize(
    "piece",
    [
        "a", "\\", "\\n", "password=", "token=a", "eyJ", "eyJaaaaaaaa.", "a.", "a@a.", "://a:", "+1 ", "4111 ", "DE89 ",
        " ", "sk-", ", ", "Bearer ", "é", DASHES, BEGIN + "\\n", "123-45-",
    ],
)  # fmt: skip
def test_a_megabyte_of_one_piece_is_read_to_its_end(piece: str) -> None:
    """What bounds the time is the structure above; this only shows that the end is reached, and that it is the end."""
    hostile = piece * (1_000_000 // len(piece))
    text, counts = redact_column(pa.array([hostile + ". ada@b.io"]))
    assert text[0].as_py().endswith(". [redacted:email]")
    assert counts["email"] >= 1


# --- hashes -----------------------------------------------------------------------------------------------------------


def test_a_keyed_hash_is_hmac_sha256() -> None:
    column = pa.chunked_array([["Hi There", None], ["Hi There", "é"]])
    got = keyed_hash(column, b"\x0b" * 20).to_pylist()
    assert got[0] == got[2] == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"  # RFC 4231, 4.2
    assert got[1] is None
    assert len({*got}) == 3


def test_another_key_gives_another_hash() -> None:
    column = pa.array(["hi"])
    assert keyed_hash(column, b"a" * 16).to_pylist() != keyed_hash(column, b"b" * 16).to_pylist()


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="a key of 15 bytes can be guessed; give at least 16"):
        keyed_hash(pa.array(["hi"]), b"a" * 15)
