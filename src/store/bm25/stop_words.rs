//! Words too common to find anything by, lower case and without accents, sorted for binary search.

/// Spanish: articles, prepositions, pronouns, conjunctions and question words and the
/// commonest forms of *ser*, *estar*, *haber*, *tener*, *poder*, *deber* and *hacer*.
pub const SPANISH: &[&str] = &[
    "a", "adonde", "al", "algo", "ante", "aquel", "aquella", "aquellas", "aquello", "aquellos", "aqui", "asi", "aun",
    "aunque", "cada", "como", "con", "cual", "cuales", "cuando", "cuanta", "cuantas", "cuanto", "cuantos", "de",
    "debe", "deben", "debo", "del", "desde", "donde", "e", "el", "ella", "ellas", "ello", "ellos", "en", "entre",
    "era", "eran", "es", "esa", "esas", "ese", "eso", "esos", "esta", "estaba", "estaban", "estan", "estar", "estas",
    "este", "esto", "estos", "fue", "fueron", "ha", "habia", "hace", "hacen", "hacer", "hago", "han", "hasta", "hay",
    "he", "la", "las", "le", "les", "lo", "los", "mas", "me", "mi", "mis", "muy", "ni", "nos", "nosotros", "o", "os",
    "otra", "otras", "otro", "otros", "para", "pero", "por", "porque", "puede", "pueden", "puedo", "pues", "que",
    "quien", "quienes", "se", "sea", "segun", "ser", "si", "sido", "sin", "sobre", "son", "su", "sus", "tal",
    "tambien", "tan", "te", "tengo", "tiene", "tienen", "tu", "tus", "u", "un", "una", "unas", "uno", "unos", "y",
    "ya", "yo",
];

/// English: articles, prepositions, pronouns, conjunctions, question words, modal verbs and the commonest forms of
/// *be*, *have* and *do*.
pub const ENGLISH: &[&str] = &[
    "a", "about", "also", "an", "and", "any", "are", "as", "at", "be", "because", "been", "being", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "get", "got", "had", "has", "have", "he", "her", "his", "how", "i",
    "if", "in", "into", "is", "it", "its", "many", "may", "me", "much", "must", "my", "need", "no", "not", "of", "on",
    "or", "our", "shall", "she", "should", "so", "some", "such", "than", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "those", "to", "us", "was", "we", "were", "what", "when", "where", "which",
    "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];
