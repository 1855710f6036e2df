"""Consoles that cannot show every letter: mathematics in words instead of an error."""

import codecs
import sys

_WORDS = {
    "∫": "int", "∇": "grad", "Δ": "Lap", "∂": "d", "Σ": "sum", "√": "sqrt", "∞": "inf", "·": ".",
    "≤": "<=", "≥": ">=", "≈": "~", "×": "x", "±": "+-", "→": "->", "−": "-", "–": "-", "…": "...",
    "²": "^2", "³": "^3", "¹": "^1", "₀": "_0", "₁": "_1", "₂": "_2", "α": "alpha", "β": "beta",
    "γ": "gamma", "δ": "delta", "ε": "eps", "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda",
    "μ": "mu", "ν": "nu", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ψ": "psi",
    "ω": "omega", "ö": "oe", "ä": "ae", "ü": "ue", "ô": "o", "é": "e",
    "á": "a", "’": "'", "“": '"', "”": '"',
    "│": "|", "─": "-", "█": "#", "▏": "#", "▎": "#", "▍": "#", "▌": "#", "▋": "#", "▊": "#",
}  # fmt: skip
_NAME = "pdekit.words"


def _in_words(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_WORDS.get(c, "?") for c in error.object[error.start : error.end]), error.end


def speak_plainly() -> None:
    """Letters that stdout and stderr cannot encode are written in words."""
    codecs.register_error(_NAME, _in_words)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_NAME)
