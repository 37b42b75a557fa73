"""The benchmark of 100 characters: pictures drawn from font files, split by groups of fonts; see __main__.py."""

CHARACTERS = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "23456789"  # 0 and 1 look like O and I in many fonts
    "abdefghijmnqrt"  # unlike their capitals
    '&@%?!$#+=<>{}[]()/\\*~^";:'
    "§£¥€¢©®¶«»±÷ßæÆØµ¿¡"
    "ÄÅÇÉÊÑÖÜ"
)
SIDE = 32
