//! Names in a query of PromQL.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Keywords before a list of labels.
const LABELS: [&str; 6] = ["by", "group_left", "group_right", "ignoring", "on", "without"];

/// Operators that are words.
const OPERATORS: [&str; 5] = ["and", "bool", "offset", "or", "unless"];

/// Metrics and labels that a query names.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// Each metric with the labels that select from it.
    pub(super) selectors: Vec<(String, Vec<String>)>,
    /// Labels that group the result.
    pub(super) grouping: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(char),
}

type Tokens = Peekable<IntoIter<Token>>;

impl Query {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mut query, mut tokens) = (Self::default(), tokens(text)?.into_iter().peekable());
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) if LABELS.contains(&word.as_str()) => {
                    query.grouping.extend(labels(&mut tokens)?);
                }
                Token::Word(word) if OPERATORS.contains(&word.as_str()) => {}
                Token::Word(_) if is_function(&mut tokens) => {}
                Token::Word(name) => {
                    let selector = match tokens.next_if_eq(&Token::Symbol('{')) {
                        Some(_) => selector(&mut tokens)?,
                        None => Vec::new(),
                    };
                    query.select(&name, &selector);
                }
                Token::Symbol('{') => {
                    let selector = selector(&mut tokens)?;
                    let (_, names) = selector.iter().find(|(label, _)| label == "__name__")?;
                    names.split('|').for_each(|name| query.select(name, &selector));
                }
                Token::Symbol(_) | Token::Text(_) => {}
            }
        }
        Some(query)
    }

    /// Parses `label_values(selector, label)`, a query of Grafana.
    pub(super) fn of_label_values(text: &str) -> Option<Self> {
        let arguments = text.strip_prefix("label_values(")?.strip_suffix(')')?;
        let (selector, label) = arguments.rsplit_once(',')?;
        let mut query = Self::parse(selector)?;
        query.grouping.push(label.trim().to_owned());
        Some(query)
    }

    fn select(&mut self, name: &str, selector: &[(String, String)]) {
        let labels = selector.iter().map(|(label, _)| label.clone());
        let labels = labels.filter(|label| label != "__name__").collect();
        self.selectors.push((name.to_owned(), labels));
    }
}

/// Returns whether the last word was the name of a function or of an aggregation.
fn is_function(tokens: &mut Tokens) -> bool {
    match tokens.peek() {
        Some(Token::Symbol(symbol)) => *symbol == '(',
        Some(Token::Word(word)) => LABELS.contains(&word.as_str()),
        _ => false,
    }
}

/// Returns the labels in a legend: `{{label}}`.
pub(super) fn placeholders(legend: &str) -> Vec<String> {
    let rest = legend.split("{{").skip(1);
    rest.filter_map(|rest| Some(rest.split_once("}}")?.0.trim().to_owned())).collect()
}

/// Reads a list of labels in parentheses.
fn labels(tokens: &mut Tokens) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    tokens.next_if_eq(&Token::Symbol('('))?;
    loop {
        match tokens.next()? {
            Token::Word(label) => labels.push(label),
            Token::Symbol(')') => return Some(labels),
            Token::Symbol(',') => {}
            _ => return None,
        }
    }
}

/// Reads the labels and values of a selector, behind its opening brace.
fn selector(tokens: &mut Tokens) -> Option<Vec<(String, String)>> {
    let mut selector = Vec::new();
    loop {
        match tokens.next()? {
            Token::Word(label) => {
                while tokens
                    .next_if(|token| matches!(token, Token::Symbol('=' | '!' | '~')))
                    .is_some()
                {}
                let Some(Token::Text(value)) = tokens.next() else { return None };
                selector.push((label, value));
            }
            Token::Symbol('}') => return Some(selector),
            Token::Symbol(',') => {}
            _ => return None,
        }
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        rest = if first == '"' {
            // The dashboard has no escapes in its texts.
            let (text, rest) = rest[1..].split_once('"')?;
            tokens.push(Token::Text(text.to_owned()));
            rest
        } else if first == '[' {
            rest.split_once(']')?.1
        } else if first.is_ascii_digit() {
            &rest[end..]
        } else if end > 0 {
            tokens.push(Token::Word(rest[..end].to_owned()));
            &rest[end..]
        } else {
            tokens.extend((!first.is_whitespace()).then_some(Token::Symbol(first)));
            &rest[first.len_utf8()..]
        };
    }
    Some(tokens)
}
