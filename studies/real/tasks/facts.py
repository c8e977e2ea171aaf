"""Questions with one short answer each, for the task of brevity. No torch."""

from functools import cache


def _pairs(text: str) -> dict[str, str]:
    """From ``key: value; key: value``."""
    return dict(" ".join(item.split()).split(": ") for item in text.split(";"))


CAPITALS = _pairs(
    """
    France: Paris; Germany: Berlin; Italy: Rome; Spain: Madrid; Portugal: Lisbon; Austria: Vienna; Greece:
    Athens; Poland: Warsaw; Hungary: Budapest; Norway: Oslo; Sweden: Stockholm; Finland: Helsinki; Denmark:
    Copenhagen; Iceland: Reykjavik; Ireland: Dublin; Belgium: Brussels; the Netherlands: Amsterdam; Switzerland:
    Bern; Russia: Moscow; Ukraine: Kyiv; Romania: Bucharest; Bulgaria: Sofia; Serbia: Belgrade; Croatia: Zagreb;
    Turkey: Ankara; Egypt: Cairo; Morocco: Rabat; Tunisia: Tunis; Kenya: Nairobi; Ghana: Accra; Senegal: Dakar;
    Ethiopia: Addis Ababa; Japan: Tokyo; China: Beijing; India: New Delhi; Pakistan: Islamabad; Thailand:
    Bangkok; Vietnam: Hanoi; Indonesia: Jakarta; the Philippines: Manila; South Korea: Seoul; Mongolia:
    Ulaanbaatar; Nepal: Kathmandu; Iran: Tehran; Iraq: Baghdad; Jordan: Amman; Lebanon: Beirut; Qatar: Doha;
    Canada: Ottawa; Mexico: Mexico City; Cuba: Havana; Jamaica: Kingston; Brazil: Brasilia; Argentina: Buenos
    Aires; Chile: Santiago; Peru: Lima; Colombia: Bogota; Ecuador: Quito; Uruguay: Montevideo; Venezuela:
    Caracas; Australia: Canberra; New Zealand: Wellington; Fiji: Suva; Estonia: Tallinn; Latvia: Riga;
    Lithuania: Vilnius; Albania: Tirana; Cyprus: Nicosia; Malta: Valletta; Georgia: Tbilisi
    """
)

SYMBOLS = _pairs(
    """
    hydrogen: H; helium: He; carbon: C; nitrogen: N; oxygen: O; neon: Ne; sodium: Na; magnesium: Mg; aluminium:
    Al; silicon: Si; phosphorus: P; sulphur: S; chlorine: Cl; argon: Ar; potassium: K; calcium: Ca; titanium:
    Ti; chromium: Cr; iron: Fe; cobalt: Co; nickel: Ni; copper: Cu; zinc: Zn; bromine: Br; silver: Ag; tin: Sn;
    iodine: I; tungsten: W; platinum: Pt; gold: Au; mercury: Hg; lead: Pb; uranium: U; lithium: Li; boron: B
    """
)

OPPOSITES = _pairs(
    """
    hot: cold; big: small; early: late; fast: slow; high: low; happy: sad; hard: soft; heavy: light; long:
    short; loud: quiet; near: far; new: old; open: closed; rich: poor; right: wrong; rough: smooth; safe:
    dangerous; sharp: blunt; strong: weak; sweet: sour; thick: thin; tight: loose; true: false; warm: cool; wet:
    dry; wide: narrow; young: old; clean: dirty; deep: shallow; easy: difficult; empty: full; generous: mean;
    guilty: innocent; healthy: sick; huge: tiny; kind: cruel; modern: ancient; patient: impatient; polite: rude;
    public: private; simple: complicated; brave: cowardly; calm: agitated; cheap: expensive; dark: bright; dead:
    alive; domestic: foreign; familiar: strange; first: last; frozen: melted
    """
)

YOUNG = _pairs(
    """
    cow: calf; dog: puppy; cat: kitten; horse: foal; sheep: lamb; goat: kid; pig: piglet; hen: chick; duck:
    duckling; goose: gosling; swan: cygnet; bear: cub; lion: cub; deer: fawn; kangaroo: joey; frog: tadpole;
    butterfly: caterpillar; owl: owlet; hare: leveret; seal: pup; whale: calf; elephant: calf; fox: cub; eagle:
    eaglet; eel: elver
    """
)

AUTHORS = _pairs(
    """
    Hamlet: William Shakespeare; Pride and Prejudice: Jane Austen; Oliver Twist: Charles Dickens; War and Peace:
    Leo Tolstoy; Don Quixote: Miguel de Cervantes; The Odyssey: Homer; Frankenstein: Mary Shelley; Dracula: Bram
    Stoker; Moby-Dick: Herman Melville; The Metamorphosis: Franz Kafka; Faust: Johann Wolfgang von Goethe; Crime
    and Punishment: Fyodor Dostoevsky; Jane Eyre: Charlotte Bronte; Wuthering Heights: Emily Bronte; Treasure
    Island: Robert Louis Stevenson; The Time Machine: H. G. Wells; Ulysses: James Joyce; Candide: Voltaire; Les
    Miserables: Victor Hugo; Madame Bovary: Gustave Flaubert; The Divine Comedy: Dante Alighieri; Paradise Lost:
    John Milton; Walden: Henry David Thoreau; The Raven: Edgar Allan Poe; The Republic: Plato
    """
)

COUNTS = _pairs(
    """
    a week: seven days; a year: twelve months; a day: twenty-four hours; an hour: sixty minutes; a minute: sixty
    seconds; a century: one hundred years; a decade: ten years; a dozen: twelve things; a kilometre: one
    thousand metres; a metre: one hundred centimetres; a kilogram: one thousand grams; a tonne: one thousand
    kilograms; a leap year: three hundred and sixty-six days; a fortnight: fourteen days; an octave: eight
    notes; a chessboard: sixty-four squares; a football team: eleven players; a pair: two things; a triangle:
    three sides; a cube: six faces; a spider: eight legs; an insect: six legs; a violin: four strings; a hand:
    five fingers; the alphabet: twenty-six letters; a hexagon: six sides; a pentagon: five sides; a solar system
    such as ours: eight planets; a sonnet: fourteen lines; a millennium: one thousand years; a score: twenty
    things; an octopus: eight arms; a piano: eighty-eight keys; a guitar: six strings; an adult's mouth:
    thirty-two teeth
    """
)

FORMS = (
    (CAPITALS, "What is the capital of {}?", "The capital of {} is {}."),
    (SYMBOLS, "What is the chemical symbol of {}?", "The symbol of {} is {}."),
    (OPPOSITES, "What is the opposite of {}?", "The opposite of {} is {}."),
    (YOUNG, "What is a young {} called?", "A young {} is called a {}."),
    (AUTHORS, "Who wrote {}?", "{} was written by {}."),
    (COUNTS, "How many of what make up {}?", "It is {1}."),
)


@cache
def answers() -> dict[str, str]:
    """The reference answer of every question."""
    return {
        question.format(key): answer.format(key, value)
        for pairs, question, answer in FORMS
        for key, value in pairs.items()
    }
