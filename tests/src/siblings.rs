//! Scenarios of stores that keep siblings (system D), and one executor that plays them on every kind of node: those
//! of [`replica::siblings`], whose updates travel with vector clocks, and those of the protocol under
//! [`MultiValue`](replica::MultiValue), in the simulator and on threads.
//!
//! Nothing moves by itself: an update goes to the other nodes when it is made, and is lost where the network is cut.
//! [`Step::Settle`] has everybody show everybody what it holds.

mod drivers;
mod scenarios;

use std::collections::BTreeSet;
use std::fmt;

pub use drivers::{Clocks, Simulated, Threaded};
pub use scenarios::all;

/// The values of a key that no write has replaced.
pub type Values = BTreeSet<String>;

/// What kind of node a scenario is played on. Nodes count from 1, and start up and empty.
pub trait Driver {
    /// The name of the driver, for messages.
    fn name(&self) -> &'static str;

    /// Writes a value in place of those that the node holds.
    fn put(&mut self, node: u32, key: &str, value: &str);

    /// What a node holds, without asking the others.
    fn get(&mut self, node: u32, key: &str) -> Values;

    /// Loses what is sent from one node to another from now on.
    fn cut(&mut self, from: u32, to: u32);

    /// Mends the network. What was lost stays lost.
    fn heal(&mut self);

    /// Everybody shows everybody what it holds; false if they do not come to hold the same.
    fn settle(&mut self) -> bool;

    /// Lets what is under way arrive, until the node holds this; false if it never does.
    fn comes_to_hold(&mut self, node: u32, key: &str, values: &Values) -> bool;

    /// What the driver itself found to be wrong in the run.
    fn violations(&mut self) -> Vec<String>;
}

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A value is written through a node.
    Put(u32, &'static str, &'static str),
    /// What is sent from one node to another is lost from now on.
    Cut(u32, u32),
    /// The same for all that is sent from and to a node.
    CutOff(u32),
    /// The network is mended.
    Heal,
    /// What has been sent arrives, and the node then holds this.
    Arrives(u32, &'static str, Vec<&'static str>),
    /// The node holds this, whatever has been sent.
    Holds(u32, &'static str, Vec<&'static str>),
    /// Everybody shows everybody what it holds.
    Settle,
    /// Every node holds this.
    AllHold(&'static str, Vec<&'static str>),
}

/// A scenario, and for how many nodes it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// The number of nodes.
    pub nodes: u32,
    /// What happens.
    pub steps: Vec<Step>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(node, key, value) => write!(f, "put {key}={value} through {node}"),
            Self::Cut(from, to) => write!(f, "what {from} sends to {to} is lost"),
            Self::CutOff(node) => write!(f, "{node} is cut off"),
            Self::Heal => f.write_str("the network is mended"),
            Self::Arrives(node, key, values) => write!(f, "{node} comes to hold {key}={values:?}"),
            Self::Holds(node, key, values) => write!(f, "{node} holds {key}={values:?}"),
            Self::Settle => f.write_str("everybody talks to everybody"),
            Self::AllHold(key, values) => write!(f, "all hold {key}={values:?}"),
        }
    }
}

/// Plays a scenario on every kind of node.
///
/// # Panics
/// If something does not come as expected.
pub fn play_everywhere(scenario: &Scenario) {
    let mut drivers: [Box<dyn Driver>; 3] = [
        Box::new(Clocks::new(scenario.nodes)),
        Box::new(Simulated::new(scenario.nodes, 1)),
        Box::new(Threaded::new(scenario.nodes)),
    ];
    for driver in &mut drivers {
        let played = play(&mut **driver, scenario);
        played.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Plays a scenario.
///
/// # Errors
/// What did not come as expected, with the scenario and the step marked.
pub fn play(driver: &mut dyn Driver, scenario: &Scenario) -> Result<(), String> {
    for (at, step) in scenario.steps.iter().enumerate() {
        carry_out(driver, scenario.nodes, step).map_err(|error| {
            let marked = scenario.steps.iter().enumerate().map(|(i, step)| {
                let mark = if i == at { "->" } else { "  " };
                format!("{mark} {step}\n")
            });
            let listing: String = marked.collect();
            format!(
                "{}, on {}: {error}\n{listing}",
                scenario.name,
                driver.name()
            )
        })?;
    }
    let violations = driver.violations();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(format!("on {}: {violations:#?}", driver.name())),
    }
}

fn carry_out(driver: &mut dyn Driver, nodes: u32, step: &Step) -> Result<(), String> {
    match step {
        Step::Put(node, key, value) => driver.put(*node, key, value),
        Step::Cut(from, to) => driver.cut(*from, *to),
        Step::CutOff(node) => {
            for other in (1..=nodes).filter(|other| other != node) {
                driver.cut(*node, other);
                driver.cut(other, *node);
            }
        }
        Step::Heal => driver.heal(),
        Step::Arrives(node, key, values) => {
            if !driver.comes_to_hold(*node, key, &set(values)) {
                return Err(format!("{node} holds {:?}", driver.get(*node, key)));
            }
        }
        Step::Holds(node, key, values) => holds(driver, *node, key, values)?,
        Step::Settle => {
            if !driver.settle() {
                return Err("the nodes do not come to hold the same".into());
            }
        }
        Step::AllHold(key, values) => {
            (1..=nodes).try_for_each(|node| holds(driver, node, key, values))?;
        }
    }
    Ok(())
}

fn holds(driver: &mut dyn Driver, node: u32, key: &str, values: &[&str]) -> Result<(), String> {
    let held = driver.get(node, key);
    match held == set(values) {
        true => Ok(()),
        false => Err(format!("{node} holds {held:?}")),
    }
}

fn set(values: &[&str]) -> Values {
    values.iter().map(|value| (*value).to_owned()).collect()
}
