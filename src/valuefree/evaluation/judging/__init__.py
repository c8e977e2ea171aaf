"""A judge that prefers one of two answers: asked in both orders, read strictly, resumed from a cache, never guessed."""
