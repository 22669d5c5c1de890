"""Numbers and names as a person writes them."""


def format_bases(bases: float) -> str:
    """Return bases in a unit that suits them, as in 19.1 Mb."""
    for size, unit in ((1e12, "Tb"), (1e9, "Gb"), (1e6, "Mb"), (1e3, "kb")):
        if bases >= size:
            decimals = 2 if bases < 10 * size else 1 if bases < 100 * size else 0
            return f"{bases / size:,.{decimals}f} {unit}"
    return f"{bases:,} bases"


def format_short(number: int) -> str:
    """Return a round number without its zeros, as in 20k."""
    for size, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size and number % size == 0:
            return f"{number // size}{letter}"
    return str(number)


def format_duration(seconds: float | None) -> str:
    """Return a duration as a person writes it, as in 2 min 05 s."""
    if seconds is None:
        return "not recorded"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_ancestors(lineage: str, name: str) -> str:
    """Return the names above `name` in a lineage, without their ranks' letters and without empty ranks."""
    names = [part.split("__", 1)[-1].strip() for part in lineage.split(";")]
    return " › ".join(above for above in names if above and above != name)


def format_measure(value: str) -> str:
    """Return a count with its thousands, a fraction with three decimals, and anything else as it stands."""
    try:
        return f"{int(value):,}" if value.isdigit() else f"{float(value):.3f}"
    except ValueError:
        return value


def format_bytes(size: float) -> str:
    """Return a number of bytes in a unit that suits it, as in 1.3 GB."""
    for unit_size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit_size:
            return f"{size / unit_size:,.1f} {unit}"
    return f"{size:,.0f} bytes"
