//! The patterns of `SCAN ... MATCH` and `CONFIG GET`, over bytes as Redis defines them.

/// Whether the pattern matches all of the text. `*` is any bytes, `?` any one, `[a-c]` and `[^a-c]`
/// one of a set, `\` takes the next byte as it is.
///
/// Time: O(pattern × text).
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if the bytes since the last star do not match: one more byte belongs to it.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        let step = text.get(t).and_then(|&byte| match_one(&pattern[p..], byte));
        match (step, star) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after_star, start))) if start < text.len() => {
                p = after_star;
                t = start + 1;
                star = Some((after_star, t));
            }
            (None, _) => return false,
        }
    }
}

/// How long the first element of the pattern is, if it matches the byte.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (matched, used) = match_set(set, byte);
            matched.then_some(used + 1)
        }
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether the set behind a `[` holds the byte, and how long the set is with its `]`, which may be
/// missing.
fn match_set(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &set[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [low, b'-', high, ..] if *high != b']' => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::matches;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbcd", false),
            ("*a*b*", "xxaxxbxx", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[abc", "b", true),
            ("[\\]]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("user:*", "user:1", true),
            ("user:*", "users", false),
            ("\\", "\\", true),
            ("[", "[", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        assert!(!matches(&b"a*".repeat(100), &b"a".repeat(99)));
        assert!(!matches(
            &[b"a*".repeat(50), b"b".to_vec()].concat(),
            &b"a".repeat(10_000)
        ));
    }

    proptest! {
        #[test]
        fn random_patterns_never_panic(pattern in "[ab*?\\[\\]^\\\\-]{0,12}", text in "[ab-]{0,12}") {
            matches(pattern.as_bytes(), text.as_bytes());
        }

        #[test]
        fn a_text_matches_itself_and_its_prefix_with_a_star(text in "[a-z]{0,12}", cut in 0_usize..12) {
            prop_assert!(matches(text.as_bytes(), text.as_bytes()));
            let pattern = text[..cut.min(text.len())].to_owned() + "*";
            prop_assert!(matches(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
