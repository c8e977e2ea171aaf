"""What the paper claims, what it leaves open, and where it contradicts itself.

Words between “ and ” are the paper's own; all else is paraphrase. Numbers are those of `published`: tests compute every
count and range that stands here from them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that a run can support or contradict; where: sections, tables and equations."""

    key: str
    where: str
    text: str


@dataclass(frozen=True)
class Contradiction:
    """Two places that cannot both be right, or a statement beside the cells that speak against it."""

    where: tuple[str, str]
    text: str


CLAIMS: tuple[Claim, ...] = (
    # Tables II and III: against the baselines
    Claim("beats-baselines", "Table II, IV-D", "RPO “generally outperforms both KTO and DRO” in the quality metrics."),
    Claim("less-toxic", "Table II, IV-D", "RPO does so “while maintaining lower toxicity levels”."),
    Claim(
        "wins-everywhere",
        "Table III, IV-E",
        "RPO has “consistently higher winrates than all baselines across sizes and judges”.",
    ),
    Claim("wide-margins", "Table III, IV-E", "Under Mistral margins are wide, “often exceeding 80% preference”."),
    Claim("judges-agree", "Table III, VII", "Both judges prefer RPO, “strong generalization across” them."),
    Claim(
        "faster",
        "Figure 1, IV-C",
        "RPO “converges faster than both KTO and DRO for all model scales”, shown by hours of training.",
    ),
    # Table IV: the temperature
    Claim("tau-robust", "Table IV, IV-F", "RPO is “generally robust”: it “does not require precise tuning” of τ."),
    Claim("tau-small", "Table IV, IV-F", "τ = 0.1 does well at Small and XL, and “suffers a drop at the Large scale”."),
    Claim("tau-moderate", "Table IV, IV-F", "τ = 1 gives “consistent and strong results”; τ = 5 stays strong."),
    Claim("tau-size", "Table IV, VII", "RPO is robust to τ “especially for larger models”."),
    Claim(
        "tau-sharpness",
        "IV-F",
        "A smaller τ makes the policy “more deterministic”; a larger one keeps it nearer to the reference.",
    ),
    # Tables V and VI: without V̂
    Claim(
        "normalisation-metrics",
        "Table V, IV-G",
        "“RPO consistently outperforms RPO-noNorm across all metrics”, sizes and temperatures.",
    ),
    Claim("normalisation-stable", "Table V, IV-G", "RPO's metrics are “stable with respect to temperature”."),
    Claim("normalisation-tau", "Table V, IV-G", "RPO-noNorm “fails to benefit from temperature scaling”."),
    Claim("normalisation-toxicity", "Table V, IV-G", "“Toxicity increases substantially without normalization”."),
    Claim("normalisation-judges", "Table VI, IV-G", "RPO is preferred to RPO-noNorm “in over 90% of comparisons”."),
    # Table VII
    Claim("separation", "Table VII, V", "XL shows the “clearest separation in quality among methods”."),
    Claim("answers", "Table VII", "Answers of RPO are “consistently more informative, well-structured”."),
    # the method
    Claim("no-value-model", "Table I, I", "No value model and no joint optimisation: V̂ is computed from the data."),
    Claim("no-value-gradient", "eq. 26, III", "“RPO avoids backpropagation through the value estimate”."),
    Claim("stable", "Table I, III", "Optimisation is simpler and more stable than DRO's."),
    Claim("dro-unstable", "Table I, II-C", "DRO's joint optimisation “often suffers from instability”."),
    Claim("error-robust", "Table I", "RPO is less sensitive to errors of the value estimate than DRO."),
    Claim("no-tuning", "Table I", "RPO has no value network to tune, so it is more direct to deploy."),
    Claim("triplets-suffice", "abstract, I", "RPO needs “only prompt-response-reward triplets and a reference model”."),
    Claim("absolute", "abstract, I", "RPO “provides absolute reward supervision”, which DRO lacks."),
    Claim("near-optimum", "I, III", "A derivation shows that RPO “approximates the optimal policy structure”."),
    Claim("scalable", "I", "RPO is “fully offline-compatible and scalable to large datasets”."),
    # section VI: limitations
    Claim("limit-coverage", "VI", "V̂ needs “sufficient coverage of high-reward outputs”; else updates are suboptimal."),
    Claim("limit-observed", "VI", "“RPO does not extrapolate beyond observed samples”; a learned value does."),
    Claim("limit-few", "VI", "With few, noisy or sparse rewards Ẑ “may underestimate the reward landscape”."),
    Claim("limit-modes", "VI", "It may then “favor local modes”, or find no better policy than the reference."),
    Claim("limit-reference", "VI", "With a reference far from the reward, optimisation is “biased or less effective”."),
)

UNSTATED: dict[str, str] = {  # what a repetition has to choose; the published code is b-faye/rpo at 37c3995
    "sft": "What SFT was trained on, or whether it is the untouched checkpoint; the published code does not train it.",
    "deviation": "What ± is taken over (seeds, folds, judgements), and how many. In 16 of 54 cells it is less than the "
    "standard error of a share of 1,000 independent prompts.",
    "neutral": "How neutral verdicts enter the win rate, and in which order, or orders, the two answers were shown.",
    "checkpoint": "Which checkpoint the tables are of; the published RPO and KTO scripts evaluate within an epoch too.",
    "decoding": "How answers were decoded. In the published code RPO and DRO sample, KTO decodes greedily.",
    "schedule": "Epochs, batch sizes, lengths; in the published code one epoch, and batches of 32 by accumulation.",
    "held-out": "Whether other answers to the 1,000 validation prompts stayed in training.",
    "kto": "KTO's β, λ_D, λ_U, how rewards became ±1, and how z₀ was estimated.",
    "dro": "DRO's value network, its learning rate, and whether it shares weights with the policy.",
    "metric-models": "Encoder of BERTScore, classifier of toxicity, and variants of ROUGE-L and BLEU.",
    "figure-1": "The hours of Figure 1 as numbers, the hardware, and what “average” is over.",
    "log-probability": "Nothing on lengths: log π(y|x) is written, token means are what the published code takes.",
    "duplicates": "What eq. 19 does with the same answer twice to one prompt.",
}

CONTRADICTIONS: tuple[Contradiction, ...] = (
    # cells against cells, cells against words
    Contradiction(
        ("Tables II and V, BLEU", "Tables II and V, SacreBLEU"),
        "The published code computes both on the same answers. They then differ only where an n-gram order has no "
        "match, when BLEU is 0. No BLEU is 0, so 100·BLEU = SacreBLEU up to rounding; it is not in 6 of 9 cells of "
        "Table II and 15 of 18 of Table V. In KTO Small and all RPO-noNorm cells 100·BLEU is the larger by 0.047 to "
        "0.139, which smoothing cannot do.",
    ),
    Contradiction(
        ("Table II, caption and IV-D", "Table II, cells"),
        "“generally” and “in most metrics” in the words; in the cells RPO is best in all 18 of metric and size.",
    ),
    Contradiction(
        ("IV-F and VII, robust to τ", "Table IV"),
        "Over τ the win rate of RPO varies by 24.7 points (Large) and 7.4 (XL) under Mistral, by 15.1, 18.5 and 15.8 "
        "(Small, Large, XL) under LLaMA; only Small under Mistral keeps to 1.7. Large at τ = 0.1 has ± 19.62 and ± "
        "12.21, so that 50 % is within one deviation.",
    ),
    Contradiction(
        ("VII, “especially for larger models”", "Table IV"),
        "The range over τ is larger for Large and for XL than for Small, under both judges.",
    ),
    Contradiction(
        ("IV-F, τ = 1 as the safe choice", "Table IV, Small and XL"),
        "τ = 0.1 has the highest win rate of the three for both sizes and judges, under LLaMA by more than 13 points "
        "over τ = 1.",
    ),
    Contradiction(
        ("Table IV, Large", "Table V, RPO Large"),
        "From τ = 1 to τ = 0.1 the win rate of Large falls by 24.7 (Mistral) and 16.6 points (LLaMA), while no metric "
        "of the same model moves by more than 2.2 % of itself, a “minimal effect”.",
    ),
    Contradiction(
        ("IV-C, τ is 1.0 “in all experiments”", "IV-F and IV-G, Tables IV to VI"),
        "These run τ = 0.1 and 5.0 as well.",
    ),
    Contradiction(
        ("IV-G, RPO-noNorm “fails to benefit from temperature scaling”", "Table V, RPO-noNorm"),
        "ROUGE-L and METEOR of RPO-noNorm rise with τ at each step and size, and toxicity is lowest at τ = 5; its "
        "ROUGE-L moves more over τ than RPO's in every size. RPO itself is best at τ = 1 in all 18 cells.",
    ),
    Contradiction(
        ("VII, “strong generalization across distinct evaluators”", "Table III, XL against KTO"),
        "The cell that is highest of all under Mistral, 93.62, is the lowest of all under LLaMA, 61.18 ± 9.33.",
    ),
    Contradiction(
        ("V, XL has the “clearest separation in quality among methods”", "Table III"),
        "In 5 of 6 cells of judge and baseline the win rate at XL is below that at Large; XL against KTO under "
        "Mistral is the exception. By Table II, RPO Large is better than RPO XL in BERTScore, ROUGE-L and METEOR.",
    ),
    Contradiction(
        ("Table VII, caption: “consistently more informative”", "V, choice of the examples"),
        "The examples are taken from “prompts where both LLaMA and Mistral models demonstrate a preference” for RPO, "
        "so they cannot show how often that is. In all ten RPO's answer has at least 2.3 times the words of either "
        "other.",
    ),
    # words against words
    Contradiction(
        ("IV-G, “Human Evaluation” and “human preference”; V, “human preferences and reward models”", "IV-B, VI"),
        "All judgements reported are of two language models; neither people nor a reward model were asked.",
    ),
    Contradiction(
        ("IV-B, a reward of 10.0 as “strong user preference”", "VII, Future Work"),
        "“real-world human feedback” is left to future work: nothing says that users gave the rewards.",
    ),
    Contradiction(
        ("IV-B, judge “LLaMA v3” [32]", "References [20] and [32]"),
        "[32] is the first LLaMA (“Llama: Open and efficient foundation language models”); LLaMA 3 is [20].",
    ),
    Contradiction(
        ("IV-C, KTO and DRO as baselines; Table II", "IV-E, “three baselines: SFT, KTO, and DRO”; VII"),
        "No training of SFT is described, and Table II has no SFT column; VII counts it among what RPO outperforms.",
    ),
    Contradiction(
        ("IV-C, one τ for all as “a fair comparison”", "eq. 7"),
        "KTO has no τ. Its own temperature β is never given.",
    ),
    Contradiction(
        ("IV-C and Figure 1, “converges faster”", "IV-C, hours of training and the number of steps"),
        "Figure 1 shows how long training took. All methods run a number of steps fixed in advance, so hours are the "
        "cost of a step; how soon a method converges is not shown.",
    ),
    Contradiction(
        ("abstract and II-C: Direct Reward Optimization", "III, “standard distributionally robust optimization (DRO)”"),
        "DRO is expanded in two ways, and VI has RPO rest on “a distributionally robust objective”, which eq. 21 is "
        "not.",
    ),
    Contradiction(
        ("title, abstract and III: Reward Partitioning Optimization", "IV-G, “Reward Policy Optimization”"),
        "RPO is expanded in two ways.",
    ),
    Contradiction(
        ("IV-E, KTO “learns from ranking alone”", "II-C, eq. 7"),
        "Eq. 7 takes single answers labelled +1 or −1 and compares none; II-C calls it “tailored to scalar reward "
        "data”, which two labels are not.",
    ),
    Contradiction(
        ("IV-E, KTO “lacks explicit value modeling”", "II-C, eq. 6 and 7"),
        "II-C defines a “value function” V(x, y) and a reference point z₀ for KTO; eq. 8 then writes v for V.",
    ),
    Contradiction(
        ("IV-E, RPO “directly optimizes policy through preference ranking”", "eq. 21"),
        "Eq. 21 is a squared regression on scalar rewards; no answer is ranked against another.",
    ),
    Contradiction(
        ("IV-E, no need “to model or estimate value explicitly”", "eq. 19, algorithm 1 lines 7 and 8"),
        "Both compute an explicit estimate V̂(x). Section III says itself that RPO estimates V* empirically.",
    ),
    Contradiction(
        ("Table I, π–V coupling of RPO “Weak”", "eq. 19"),
        "V̂ is made of π_ref and rewards, without θ: there is none.",
    ),
    Contradiction(
        ("abstract and I, DRO's policy “only supervised relatively to a reference model”", "eq. 21"),
        "RPO regresses the same log-ratio to the same reference; its supervision is as relative as that of eq. 13.",
    ),
    Contradiction(
        ("abstract, learning from single rows of prompt, response and reward", "eq. 19"),
        "Eq. 19 sums over the answers to one prompt. With a single one V̂ = r + τ log π_ref, the target is log π_θ = "
        "0, and the reward has no effect.",
    ),
    Contradiction(
        ("eq. 11, 16 and 18", "eq. 19"),
        "A sum over all responses becomes one over those in the data, with no correction for the others: V̂ − V* = τ "
        "log π*(observed) ≤ 0 where no response is repeated. VI calls V̂ “the expected value”, which it is not.",
    ),
    Contradiction(
        ("eq. 16, a sum over responses", "eq. 19 and algorithm 1 line 1, a sum over rows"),
        "The same answer twice to a prompt counts once in Z and twice in Ẑ.",
    ),
    Contradiction(
        ("I, “a formal derivation”", "III"),
        "Section III derives the gradient of the loss. Nothing relates V̂ of eq. 19 to V*, or the minimiser to π*.",
    ),
    Contradiction(
        ("IV-G, “the raw reward”", "IV-A"),
        "Rewards are standardised before; which are meant is not said.",
    ),
    Contradiction(
        ("IV-G, “temperature τ modulates exploration”", "I, “fully offline-compatible”; VI"),
        "Nothing is explored: all answers stand in the data, and RPO “does not extrapolate beyond observed samples”.",
    ),
    # the text at hand, and the published code
    Contradiction(
        ("eq. 21, (r − V̂)/τ", "algorithm 1 line 9, (r − V̂)/2"),
        "In the text version at hand; most likely its conversion read τ as 2, and the paper has none of it.",
    ),
    Contradiction(
        ("IV-C, τ = 1", "published code, rpo/train_rpo.py"),
        "As published it runs Large with τ = 5.0.",
    ),
    Contradiction(
        ("eq. 19 and 21, π(y|x)", "published code, compute_log_probs"),
        "Log-probabilities are divided by the number of tokens, in policy, reference and Ẑ alike.",
    ),
    Contradiction(
        ("Figure 1, RPO faster than KTO", "published code"),
        "A step of either is two forward passes and one backward pass; RPO has one pass over the data more, for V̂.",
    ),
)
