"""What the prompts of the tasks are about, separated by semicolons. No torch."""


def _items(text: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in text.split(";"))


PLACES = _items(
    """
    the harbour at dawn; a train station at night; the village school; an old hotel; the city library; a crowded
    bus; the island beach; a mountain hut; the hospital garden; a desert road; the farmers' market; a quiet
    church; the football stadium; a winter forest; the corner bakery; an empty theatre; the airport lounge; a
    river ferry; the town museum; a rooftop bar; the public pool; a country lane; the night market; a flooded
    street; the botanical garden; an abandoned factory; the opera house; a camp site; the castle ruins; a petrol
    station; the fishing port; a student flat; the ski slope; a dusty attic; the train to the coast; a county
    court; the call centre; a vineyard in autumn; the city zoo; a lighthouse in a storm
    """
)

THINGS = _items(
    """
    my first job; a long meeting; the new neighbours; a broken phone; the weekend; homework; a family dinner;
    the weather this year; a school reunion; online shopping; a visit to the dentist; the morning news; moving
    house; a burnt cake; public transport; a lost suitcase; learning to swim; an old photograph; a birthday
    party; the tax office; growing tomatoes; a power cut; a second-hand car; the local elections; getting older;
    a rainy holiday; the office printer; a choir concert; a cold shower; the last day of term; cooking for
    friends; a noisy street; running a marathon; an unexpected letter; the price of bread; a stray cat; working
    from home; a job interview; a missed flight; the end of summer
    """
)

PHENOMENA = _items(
    """
    photosynthesis; gravity; rainbows; earthquakes; the tides; vaccines; electricity; magnets; volcanoes; the
    water cycle; clouds; thunder; digestion; the heartbeat; memory; sleep; dreams; inflation; interest rates;
    taxes; elections; the internet; radio waves; satellites; batteries; solar panels; wind turbines; nuclear
    power; recycling; compost; soil; pollination; migration of birds; hibernation; camouflage; fossils;
    dinosaurs; evolution; inheritance of traits; bacteria; viruses; fever; allergies; blood types; muscles;
    bones; teeth; eyesight; hearing; taste; colour; sound; echoes; shadows; mirrors; lenses; microscopes;
    telescopes; the seasons; day and night; eclipses; comets; black holes; stars; the Moon; glaciers; deserts;
    rainforests; coral reefs; hurricanes; avalanches; rust; burning; freezing; boiling; soap; glass; paper;
    steel; bread dough
    """
)

NUISANCES = _items(
    """
    a neighbour who plays loud music; a driver who cut you off; a landlord who will not repair the heating; a
    colleague who steals lunches; a waiter who spilled soup; an airline that lost a bag; a bank that charged a
    fee; a friend who is always late; a builder who left a mess; a shop that sold broken shoes; a cyclist on the
    pavement; a phone company; a dentist who kept you waiting; a tenant who never pays; a referee; a politician
    who lied; a barber who cut too much; a plumber who did not come; a hotel with dirty rooms; a student who
    copied your essay; a manager who takes the credit; a courier who threw a parcel; a roommate who never
    cleans; a teacher who lost the tests; a parking inspector; a gym that will not cancel; a cousin who broke a
    vase; a mechanic who overcharged; a baker who sold stale bread; a librarian who fined you; a taxi driver; a
    singer out of tune; a chef who burned the steak; a postman who lost a letter; a nurse who was rude; a coach
    who shouts; a guest who will not leave; a queue jumper; a dog owner; a noisy child's father; a salesman at
    the door; a spammer; a hacker; a bully at school; a thief of bicycles; a film critic; a lazy clerk; a
    gossip; a liar; a show-off; a reckless skier; a rude customer; a bad tipper; a ticket seller; a broken
    vending machine's owner; a telemarketer; a litterer; a smoker at the bus stop; a graffiti painter; a sore
    loser; a cheat at cards; a strict aunt; a bossy sister; a jealous ex; a forgetful boss; a careless painter;
    a slow cashier; a grumpy guard; a fake guru; a false friend; a pushy agent; a greedy lawyer; a vain actor; a
    mean coach; an unfair judge; a sloppy editor; a shouting uncle; an internet troll; a know-it-all; a backseat
    driver
    """
)
