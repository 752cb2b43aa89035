//! Words too common to find anything by, lower case and without accents, sorted for binary search.

/// Spanish: articles, prepositions, pronouns, conjunctions and the commonest forms of *ser*, *estar* and *haber*.
pub const SPANISH: &[&str] = &[
    "a", "al", "algo", "ante", "aquel", "aquella", "aquellas", "aquello", "aquellos", "aqui", "asi", "aun", "aunque",
    "cada", "como", "con", "cual", "cuales", "cuando", "de", "del", "desde", "donde", "e", "el", "ella", "ellas",
    "ello", "ellos", "en", "entre", "era", "eran", "es", "esa", "esas", "ese", "eso", "esos", "esta", "estaba",
    "estaban", "estan", "estar", "estas", "este", "esto", "estos", "fue", "fueron", "ha", "habia", "han", "hasta",
    "hay", "he", "la", "las", "le", "les", "lo", "los", "mas", "me", "mi", "mis", "muy", "ni", "nos", "nosotros", "o",
    "os", "otra", "otras", "otro", "otros", "para", "pero", "por", "porque", "pues", "que", "quien", "quienes", "se",
    "sea", "segun", "ser", "si", "sido", "sin", "sobre", "son", "su", "sus", "tal", "tambien", "tan", "te", "tu",
    "tus", "u", "un", "una", "unas", "uno", "unos", "y", "ya", "yo",
];

/// English: articles, prepositions, pronouns, conjunctions and the commonest forms of *be*, *have* and *do*.
pub const ENGLISH: &[&str] = &[
    "a", "about", "also", "an", "and", "any", "are", "as", "at", "be", "because", "been", "being", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in",
    "into", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or", "our", "she", "should", "so", "some", "such",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "us", "was", "we",
    "were", "what", "when", "where", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];
