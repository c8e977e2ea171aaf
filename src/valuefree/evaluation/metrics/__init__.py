"""Metrics of texts: BLEU, ROUGE, METEOR, BERTScore, toxicity, diversity; `text_metrics` is in `measure`. No torch."""
