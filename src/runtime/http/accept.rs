//! Which form of a key a reader wants: `Accept`.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// The form that has a list for zero, one or many values.
pub(super) const SIBLINGS_JSON: &str = "application/vnd.dunlin.siblings+json";

/// All values raw.
pub(super) const MULTIPART: &str = "multipart/mixed";

/// The form of an answer with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes of the one value; siblings are a conflict.
    Raw,
    /// [`SIBLINGS_JSON`]
    Envelope,
    /// [`MULTIPART`]
    Multipart,
}

/// The media ranges of `Accept`, with their weights in thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Accept {
    ranges: Vec<(String, u32)>,
}

impl Accept {
    /// Reads the header. None, or nothing readable in it: everything is acceptable.
    pub(super) fn of(headers: &HeaderMap) -> Accept {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Accept { ranges: values.flat_map(|value| value.split(',')).filter_map(range).collect() }
    }

    /// The form asked for: one that is named outright, unless `*/*` or the like weighs more.
    pub(super) fn form(&self) -> Form {
        let any = self.ranges.iter().filter(|(range, _)| range.ends_with("/*")).map(|(_, weight)| *weight).max();
        let named = |name: &str| {
            let weight = self.ranges.iter().find(|(range, _)| range == name).map_or(0, |(_, weight)| *weight);
            (weight > 0 && weight >= any.unwrap_or(0)).then_some(weight)
        };
        match (named(SIBLINGS_JSON), named(MULTIPART)) {
            (Some(envelope), multipart) if envelope >= multipart.unwrap_or(0) => Form::Envelope,
            (_, Some(_)) => Form::Multipart,
            _ => Form::Raw,
        }
    }

    /// Is this type named outright?
    pub(super) fn names(&self, media_type: &str) -> bool {
        self.ranges.iter().any(|(range, weight)| range == media_type && *weight > 0)
    }

    /// May a value of this type be sent as it is? The most specific range decides.
    pub(super) fn takes(&self, content_type: &str) -> bool {
        if self.ranges.is_empty() {
            return true;
        }
        let essence = essence(content_type);
        let kind = format!("{}/*", essence.split('/').next().unwrap_or_default());
        let weight_of = |name: &str| self.ranges.iter().find(|(range, _)| range == name).map(|(_, weight)| *weight);
        weight_of(&essence).or_else(|| weight_of(&kind)).or_else(|| weight_of("*/*")).unwrap_or(0) > 0
    }
}

fn range(item: &str) -> Option<(String, u32)> {
    let range = essence(item);
    let mut parameters = item.split(';').skip(1).map(str::trim);
    let weight = parameters.find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")));
    let weight = weight.and_then(|weight| weight.parse::<f32>().ok()).unwrap_or(1.0);
    range.contains('/').then_some((range, (weight.clamp(0.0, 1.0) * 1000.0) as u32))
}

/// Type and subtype without parameters, in lower case.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn accept(value: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(value).unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn a_form_has_to_be_named() {
        assert_eq!(Accept::default().form(), Form::Raw);
        assert_eq!(accept("*/*").form(), Form::Raw);
        assert_eq!(accept("application/*").form(), Form::Raw);
        assert_eq!(accept(SIBLINGS_JSON).form(), Form::Envelope);
        assert_eq!(accept("Application/VND.dunlin.siblings+json; q=0.5").form(), Form::Envelope);
        assert_eq!(accept("application/vnd.dunlin.siblings+json, */*").form(), Form::Envelope);
        assert_eq!(accept("application/vnd.dunlin.siblings+json;q=0.1, */*").form(), Form::Raw);
        assert_eq!(accept("application/vnd.dunlin.siblings+json;q=0").form(), Form::Raw);
        assert_eq!(accept(MULTIPART).form(), Form::Multipart);
        assert_eq!(accept("multipart/mixed;q=0.9, application/vnd.dunlin.siblings+json;q=0.8").form(), Form::Multipart);
    }

    #[test]
    fn the_most_specific_range_decides_about_a_type() {
        assert!(Accept::default().takes("text/plain") && accept("nonsense").takes("text/plain"));
        assert!(accept("text/*").takes("text/plain; charset=utf-8"));
        assert!(!accept("text/*, text/plain;q=0").takes("text/plain"));
        assert!(!accept("application/json").takes("text/plain"));
        assert!(accept("application/json, */*;q=0.1").takes("text/plain"));
    }
}
