"""Words that say little, ask the same, count, deny or turn a question round: English, by hand."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _ordered(text: str) -> list[str]:
    return text.split()


def _table(text: str) -> dict[str, str]:
    groups = [group.split() for group in text.split(",")]
    return {word: group[0] for group in groups for word in group[1:]}


SMALL = _set(
    "a an the is are am was were be been being do does did have has had will would can could should shall may might "
    "must of in on at to for from by with about as into and or but if so that this these those there here it its i me "
    "my mine you your yours he him his she her hers we us our they them their one ones some any what which who whom "
    "whose when where why how please just really very actually ever also too then than up out off over again while "
    "hello hi hey thanks thank tell know get got way ways thing things own same such more most"
)
"""Words that carry little of a question's meaning."""
NEGATIONS = _set("not no never without none neither nor nothing nobody")
JOINING = _set("and or vs versus")
"""Words whose two sides may change places."""
ASKING = _set("what which who whom whose when where why how is are was were do does did can could should would will")
NUMBERS = {
    word: str(i) for i, word in enumerate(_ordered("two three four five six seven eight nine ten eleven twelve"), 2)
}
NUMBERS |= {"twenty": "20", "fifty": "50", "hundred": "100", "thousand": "1000", "million": "1000000"}

SAME = _table(
    """
    can could may might, should ought must shall, will would, is are am was were be, do does did, have has had,
    good great nice, best top greatest finest ideal, buy purchase, big large huge, start begin,
    fast quick quickly rapidly, learn study, make create build, use utilize utilise using, people person persons,
    phone smartphone mobile cellphone, photo picture image pic pics photos pictures images,
    movie film movies films, fix repair, job jobs career work, happen occur, improve enhance, help assist,
    difference differences, i we me us, my our, usa america, uk britain, get obtain receive,
    way ways method methods, an a the, someone somebody, anyone anybody, everyone everybody, which what,
    example examples, company companies firm, reason reasons, effect effects impact consequences,
    important significant, color colour, favorite favourite, program programme, center centre, organize organise,
    okay ok
    """
)
"""Words that ask the same in most questions, by the one that stands for them."""

OPPOSITES = tuple(
    """
    best worst, good bad, first last, more less, most least, gain lose, before after, start stop, start end,
    up down, enable disable, open close, buy sell, increase decrease, high low, higher lower, hot cold, old new,
    old young, big small, large small, fast slow, easy hard, easy difficult, love hate, like dislike, male female,
    man woman, men women, boy girl, boys girls, boyfriend girlfriend, husband wife, left right, inside outside,
    on off, in out, add remove, install uninstall, import export, accept reject, allow block, win lose, pass fail,
    right wrong, true false, always never, with without, rich poor, strong weak, long short, early late,
    light dark, positive negative, upload download, login logout, minimum maximum, min max, increase reduce,
    advantage disadvantage, advantages disadvantages, pros cons, legal illegal, possible impossible,
    safe dangerous, happy sad, alive dead, cheap expensive, cheapest costliest, public private, north south,
    east west, day night, morning evening, mother father, son daughter, better worse, above below, above under,
    over under, front back, lock unlock, encrypt decrypt, hire fire, send receive, give take, push pull,
    join leave, enter exit, arrive depart, all none, everything nothing, same different, agree disagree,
    approve deny, connect disconnect, create delete, save delete, show hide, rise fall, tall short, thin thick,
    wide narrow, full empty, single married, introvert extrovert, democrat republican, liberal conservative,
    black white, winter summer, forget remember, include exclude
    """.replace("\n", " ").split(",")
)
PARTNERS: dict[str, set[str]] = {}
"""The words that turn a word round, by the word that stands for it."""
for _one, _other in [[SAME.get(word, word) for word in text.split()] for text in OPPOSITES]:
    PARTNERS.setdefault(_one, set()).add(_other)
    PARTNERS.setdefault(_other, set()).add(_one)
PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "mis", "anti", "de")
"""Beginnings that turn a word round."""
