//! One name of a pattern: `*` stands for any characters, `?` for one, `[abc]`, `[a-z]`, `[!abc]` (or `[^abc]`) for one of a set or outside it; all
//! else for itself, braces and backslashes too. A character is a Unicode scalar value, so `?` takes an `é` whole. Written here because the crate
//! `globset`, which was tried first, matches bytes, knows braces that we don't, and brings a regular expression engine along.
//! Refuses a bracket without its end.

/// A pattern for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`
    Any,
    /// `?`
    One,
    /// Itself.
    Literal(char),
    /// Brackets: ranges of characters, first and last.
    Within(Vec<(char, char)>),
    /// Brackets that begin with `!` or `^`.
    Without(Vec<(char, char)>),
}

impl NamePattern {
    /// Reads a pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            tokens.push(match first {
                '*' => Token::Any,
                '?' => Token::One,
                '[' => {
                    let (token, after) = brackets(rest)?;
                    rest = after;
                    token
                }
                literal => Token::Literal(literal),
            });
        }
        Ok(Self { tokens })
    }

    /// Whether a whole name matches. Takes at most tokens × characters steps: after a mismatch only the last `*` takes one character more, which
    /// is enough, since what an earlier one could take, the last one can.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (mut tokens, mut characters) = (self.tokens.as_slice(), name.chars());
        let mut last_star: Option<(&[Token], std::str::Chars<'_>)> = None;
        loop {
            let before = characters.clone();
            match (tokens.split_first(), characters.next()) {
                (Some((Token::Any, after)), _) => {
                    (tokens, characters) = (after, before.clone());
                    last_star = Some((after, before));
                }
                (Some((token, after)), Some(character)) if token.takes(character) => tokens = after,
                (None, None) => return true,
                _ => {
                    let Some((after, from)) = &mut last_star else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    (tokens, characters) = (after, from.clone());
                }
            }
        }
    }
}

impl Token {
    fn takes(&self, character: char) -> bool {
        let among = |ranges: &[(char, char)]| ranges.iter().any(|&(first, last)| (first..=last).contains(&character));
        match self {
            Self::Any | Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Within(ranges) => among(ranges),
            Self::Without(ranges) => !among(ranges),
        }
    }
}

/// Reads a set behind its opening bracket; gives what follows its closing one.
fn brackets(text: &str) -> Result<(Token, &str), String> {
    let negated = text.strip_prefix(['!', '^']);
    let members = negated.unwrap_or(text);
    // A closing bracket that comes first is a member.
    let skipped = usize::from(members.starts_with(']'));
    let end = members.get(skipped..).and_then(|rest| rest.find(']')).map(|end| end + skipped);
    let Some((inside, after)) = end.and_then(|end| members.split_at_checked(end)) else {
        return Err("it has a [ without its ]; a file with a [ in its name is matched by [[]".to_owned());
    };
    let mut ranges = Vec::new();
    let mut rest = inside.chars();
    while let Some(first) = rest.next() {
        let mut ahead = rest.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) => {
                rest = ahead;
                last
            }
            _ => first,
        };
        if last < first {
            return Err(format!("its range {first}-{last} ends before it begins"));
        }
        ranges.push((first, last));
    }
    let token = if negated.is_some() { Token::Without(ranges) } else { Token::Within(ranges) };
    Ok((token, after.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let parsed = NamePattern::parse(pattern).unwrap();
        for name in matching {
            assert!(parsed.matches(name), "{pattern} matches {name}");
        }
        for name in others {
            assert!(!parsed.matches(name), "{pattern} does not match {name}");
        }
    }

    #[test]
    fn patterns_mean_what_people_know_from_shells() {
        check("*", &["", "a", "a.b"], &[]);
        check("*.txt", &[".txt", "a.txt", "a.txt.txt"], &["a.txt2", "atxt", "txt"]);
        check("a*b*c", &["abc", "axbyc", "abcbc"], &["ab", "acb", "abcd"]);
        check("a**c", &["ac", "abc"], &["ab"]);
        check("?", &["a", "é", "*"], &["", "ab"]);
        check("[abc]", &["a", "c"], &["d", "", "ab"]);
        check("[a-cx-z]?", &["b1", "yy"], &["d1", "b"]);
        check("[!a-c]", &["d", "é"], &["b", ""]);
        check("[^a]", &["b", "^"], &["a"]);
        check("[]a]", &["]", "a"], &["[", "b"]);
        check("[!]]", &["a"], &["]"]);
        check("[a-]", &["a", "-"], &["b"]);
        check("[[]1].txt", &["[1].txt"], &["1.txt"]);
        check("{a,b}\\", &["{a,b}\\"], &["a", "b"]);
        check("[à-ü]x", &["éx"], &["ex"]);
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_length_times_the_names() {
        check(&format!("{}b", "a*".repeat(100)), &[], &[&"a".repeat(250)]);
    }

    #[test]
    fn brackets_that_mean_nothing_are_refused() {
        for pattern in ["a[b", "[", "[]", "[!]", "[z-a]"] {
            assert!(NamePattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
