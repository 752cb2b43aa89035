//! Numbers and their units as Spanish and English write them.

pub mod written;

/// Units: what they are, and how they are written.
const UNITS: &[(&str, &[&str])] = &[
    ("minute", &["minute", "minutes", "min", "minuto", "minutos"]),
    ("hour", &["hour", "hours", "h", "hora", "horas"]),
    ("day", &["day", "days", "dia", "dias"]),
    ("week", &["week", "weeks", "semana", "semanas"]),
    ("month", &["month", "months", "mes", "meses"]),
    ("year", &["year", "years", "ano", "anos"]),
    ("euro", &["euro", "euros", "eur", "€"]),
    ("pound", &["pound", "pounds", "libra", "libras", "gbp", "£"]),
    ("dollar", &["dollar", "dollars", "dolar", "dolares", "usd", "$"]),
    ("percent", &["percent", "%"]),
];

/// The unit that a folded word or sign is.
pub fn unit_of(folded: &str) -> Option<&'static str> {
    UNITS.iter().find(|(_, forms)| forms.contains(&folded)).map(|(unit, _)| *unit)
}

/// One spelling for `1.234,50`, `1,234.50` and `1234.5`.
pub fn canonical(text: &str) -> String {
    let last = text.rfind(['.', ',']);
    let decimals = match last {
        Some(at) => {
            let tail = text.len() - at - 1;
            let separator = &text[at..=at];
            let alone = text.matches(['.', ',']).count() == 1;
            // Three digits behind a single separator, or the same separator twice, group thousands; no group begins with 0.
            let groups = (tail == 3 && !(alone && &text[..at] == "0")) || (!alone && text[..at].contains(separator));
            if groups { None } else { Some(at) }
        }
        None => None,
    };
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let (whole, fraction) = match decimals {
        Some(at) => (digits(&text[..at]), digits(&text[at + 1..])),
        None => (digits(text), String::new()),
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() && !text.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}
