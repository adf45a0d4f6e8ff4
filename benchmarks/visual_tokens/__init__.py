"""Cost of a budget of visual tokens: a toy model of LLaVA's kind, trained on drawings, and its labels by tokens."""
