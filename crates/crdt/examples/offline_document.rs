//! Offline edits of a nested document: sections with a title, and chapters with tags.

use crdt::{
    AddWinsSet, CausalReplica, Difference as _, IdentityReused, MvCell, ObjectId, OrMap, ReplicaId,
};

/// Two titles that are written at once are both kept; chapters come and go with their tags.
type Section = (MvCell<String>, OrMap<String, AddWinsSet<String>>);
type Document = CausalReplica<OrMap<String, Section>>;

fn set_title(document: &mut Document, section: &str, title: &str) {
    let _delta = document.change(|sections| {
        sections.update(section.into(), |section| section.first().set(title.into()));
    });
}

fn add_tag(document: &mut Document, section: &str, chapter: &str, tag: &str) {
    let _delta = document.change(|sections| {
        sections.update(section.into(), |section| {
            let mut chapters = section.second();
            chapters.update(chapter.into(), |tags| tags.add(tag.into()));
        });
    });
}

fn titles<'a>(document: &'a Document, section: &str) -> Vec<&'a str> {
    let section = document.get(section);
    section.map_or(vec![], |(title, _)| {
        title.values().map(String::as_str).collect()
    })
}

/// Takes what the other document has beyond this one, and tells how many events that were.
fn pull(document: &mut Document, other: &Document) -> Result<u64, IdentityReused> {
    let missing = other.state().difference(document.state());
    document.join(&missing)?;
    Ok(missing.context().event_count())
}

fn main() -> Result<(), IdentityReused> {
    let mut ada = Document::new(ObjectId(1), ReplicaId(1));
    let mut ben = Document::new(ObjectId(1), ReplicaId(2));
    set_title(&mut ada, "intro", "Welcome");
    add_tag(&mut ada, "intro", "start", "draft");
    assert_eq!(pull(&mut ben, &ada)?, 2);

    // On the train, without a network: both rename the section; Ada drops a chapter, Ben tags it.
    set_title(&mut ada, "intro", "Hello");
    set_title(&mut ben, "intro", "Good day");
    let _delta = ada.change(|sections| {
        sections.update("intro".into(), |section| section.second().remove("start"));
    });
    add_tag(&mut ben, "intro", "start", "reviewed");

    pull(&mut ada, &ben)?;
    pull(&mut ben, &ada)?;
    assert_eq!(ada.state(), ben.state());
    assert_eq!(
        titles(&ada, "intro"),
        ["Hello", "Good day"],
        "nobody's title is lost"
    );
    let (_, chapters) = ada.get("intro").expect("the section is there");
    let tags = chapters
        .get("start")
        .expect("the new tag keeps the chapter");
    // The removal had seen the draft alone.
    assert!(tags.iter().eq(["reviewed"]));

    // A title that has seen both settles it; a removed section is gone at every depth.
    set_title(&mut ada, "intro", "Hello and good day");
    pull(&mut ben, &ada)?;
    assert_eq!(titles(&ben, "intro"), ["Hello and good day"]);
    let _delta = ben.change(|sections| sections.remove("intro"));
    pull(&mut ada, &ben)?;
    assert!(ada.is_empty() && ada.state() == ben.state());
    Ok(())
}
