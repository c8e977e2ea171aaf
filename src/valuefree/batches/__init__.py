"""From rows to tensors: chat templates, tokens, which rows form a micro-batch, padding or packing."""
