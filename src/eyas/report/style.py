"""The style sheet of a page: light and dark, wide and narrow, screen and paper.

The series are Okabe and Ito's colours, which people with any kind of colour blindness tell apart (Color Universal
Design, 2008), darkened or lightened until each stands out from its page by 3:1, and texts by 4.5:1 (WCAG 2.1, criteria
1.4.3 and 1.4.11).
"""

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#56606b",
    "rule": "#d5dae0",
    "soft": "#f2f4f7",
    "link": "#0059a3",
    "heat": "#0072b2",
    "warning": "#8a5300",
}
DARK = {
    "paper": "#15181c",
    "ink": "#e8ebef",
    "muted": "#a4adb8",
    "rule": "#3a424c",
    "soft": "#20252b",
    "link": "#7cc0f5",
    "heat": "#2f8fc9",
    "warning": "#f2b04c",
}
LIGHT_SERIES = ("#0072b2", "#c75000", "#00805c", "#b04f8c", "#8c6a00", "#2b83b8", "#1b1f24", "#7a5cc0")
DARK_SERIES = ("#56b4e9", "#f0803c", "#2fc297", "#e08fc0", "#e6b422", "#8fd0f5", "#e8ebef", "#b39cf0")

_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans",sans-serif;overflow-wrap:anywhere}
main,header{max-width:1100px;margin:0 auto;padding:0 16px}
header{padding-top:24px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25em}
h2{font-size:1.3rem;margin:2.2em 0 .5em;padding-top:.5em;border-top:1px solid var(--rule)}
h3{font-size:1.05rem;margin:1.6em 0 .4em}
p,ul{margin:.5em 0;max-width:75ch}
.muted{color:var(--muted)}
a{color:var(--link)}
nav ul{display:flex;flex-wrap:wrap;gap:.2em 1.2em;list-style:none;padding:0;margin:.8em 0;max-width:none}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:20px;align-items:start}
figure{margin:0;min-width:0}
.charts svg{width:100%;max-width:520px;height:auto;display:block}
figcaption{color:var(--muted);font-size:.875rem;line-height:1.4;margin:.3em 0 0}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,430px),1fr));gap:20px;align-items:start}
.pictures img{max-width:100%;height:auto;display:block;border-radius:3px}
.pictures .wide{grid-column:1/-1}
.scroll{overflow-x:auto;margin:.6em 0 1.2em}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
caption{text-align:left;color:var(--muted);padding:.2em 0}
th,td{padding:.3em .7em;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap;vertical-align:top}
th:first-child,td:first-child{padding-left:0}
th{font-weight:600;background:var(--paper)}
.words{text-align:left}
td.words,tbody th.words{white-space:normal;min-width:10em;max-width:34em;overflow-wrap:anywhere}
thead th{border-bottom:2px solid var(--rule);vertical-align:bottom}
details{margin:.6em 0}
summary{cursor:pointer;color:var(--link)}
.note{background:var(--soft);border-left:4px solid var(--warning);padding:.5em .8em;margin:.8em 0;max-width:80ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:10px;margin:1em 0;padding:0}
.tiles div{background:var(--soft);border-radius:4px;padding:.5em .7em}
.tiles dt{color:var(--muted);font-size:.85rem}
.tiles dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
.legend{display:flex;flex-wrap:wrap;gap:.3em 1.2em;list-style:none;padding:0;margin:.6em 0;max-width:none}
.legend svg{flex:none}
.legend li{display:flex;align-items:center;gap:.45em}
svg text{font-size:13px;fill:var(--ink);font-family:inherit}
svg .title{font-size:15px;font-weight:600}svg .small{font-size:12px}svg .tiny{font-size:11px;fill:var(--muted)}
svg .label{fill:var(--muted)}
.grid{stroke:var(--rule);stroke-width:1}.axis{stroke:var(--muted);stroke-width:1.2}
.whisker{stroke:var(--ink);stroke-width:1.5}.band{stroke-width:5;stroke-opacity:.3}
.line{fill:none;stroke-width:2.2}
.heat{fill:var(--heat)}.shade{fill:var(--soft)}.noshade{fill:var(--paper)}
footer{color:var(--muted);font-size:.85rem;max-width:1100px;margin:3em auto 1.5em;padding:0 16px}
@media (max-width:600px){table{font-size:.82rem}th,td{padding:.25em .45em}td.words,tbody th.words{min-width:7em}
main,header{padding:0 12px}}
@media print{body{font-size:11pt}nav{display:none}h2{break-after:avoid}figure,tr{break-inside:avoid}
.scroll{overflow:visible}}
"""


def style_sheet() -> str:
    """The style sheet as text."""
    light, dark = _variables(LIGHT, LIGHT_SERIES), _variables(DARK, DARK_SERIES)
    series = "".join(f".s{i}{{fill:var(--s{i})}}.l{i}{{stroke:var(--s{i})}}" for i in range(len(LIGHT_SERIES)))
    scheme = f":root{{color-scheme:light dark;{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return scheme + _RULES.replace("\n", "") + series


def _variables(colours: dict[str, str], series: tuple[str, ...]) -> str:
    named = {**colours, **{f"s{place}": colour for place, colour in enumerate(series)}}
    return "".join(f"--{name}:{colour};" for name, colour in named.items())
