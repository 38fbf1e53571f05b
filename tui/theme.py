"""The colors of the screen, dark and light. Palettes of data are in `edge.picture.palettes`."""

from textual.theme import Theme

DARK = Theme(
    name="edge-dark",
    dark=True,
    primary="#7aa2f7",
    secondary="#e0995e",
    accent="#ff6ac1",
    foreground="#d5d9e5",
    background="#0f1117",
    surface="#161922",
    panel="#222633",
    success="#8fce8f",
    warning="#e0b45e",
    error="#ff6b6b",
    variables={
        "border-blurred": "#343a4d",
        "footer-key-foreground": "#7aa2f7",
        "footer-background": "#161922",
        "scrollbar": "#3b4258",
        "scrollbar-hover": "#59627f",
        "scrollbar-active": "#7aa2f7",
        "scrollbar-background": "#161922",
        "scrollbar-background-hover": "#161922",
        "scrollbar-background-active": "#161922",
        "scrollbar-corner-color": "#0f1117",
    },
)

LIGHT = Theme(
    name="edge-light",
    dark=False,
    primary="#2456b3",
    secondary="#a0521a",
    accent="#c2186f",
    foreground="#1d2230",
    background="#fafaf7",
    surface="#f0f0ea",
    panel="#e2e2da",
    success="#2f7d32",
    warning="#8a5a00",
    error="#b3261e",
    variables={
        "border-blurred": "#c4c4ba",
        "footer-key-foreground": "#2456b3",
        "footer-background": "#f0f0ea",
        "scrollbar": "#c4c4ba",
        "scrollbar-hover": "#a5a59a",
        "scrollbar-active": "#2456b3",
        "scrollbar-background": "#f0f0ea",
        "scrollbar-background-hover": "#f0f0ea",
        "scrollbar-background-active": "#f0f0ea",
        "scrollbar-corner-color": "#fafaf7",
    },
)
