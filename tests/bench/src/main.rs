//! Agents of two programs with Serf's command line, measured in turn on one machine. `scripts/bench` runs it.

// It measures real programs in real time.
#![allow(clippy::disallowed_methods)]

mod cluster;
mod crowd;
mod scenarios;

use cluster::Outcome;
use scenarios::{Figure, SCENARIOS, Scenario, median};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What is to be done.
struct Plan {
    programs: [PathBuf; 2],
    members: usize,
    runs: usize,
    scenarios: Vec<&'static Scenario>,
}

fn main() -> ExitCode {
    let mut arguments = pico_args::Arguments::from_env();
    let done = match arguments.opt_value_from_str("--crowd") {
        Ok(Some(members)) => among(members, &mut arguments),
        Ok(None) => plan(arguments).and_then(|plan| run(&plan)),
        Err(why) => Err(why.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// One agent among members that are played.
fn among(members: u32, arguments: &mut pico_args::Arguments) -> Outcome<()> {
    let program: PathBuf = arguments.value_from_os_str("--ours", path)?;
    println!("Measured on {}.", machine());
    println!();
    println!("| one agent among {members} | |");
    println!("| --- | --- |");
    for (what, figure) in crowd::measure(&program, members)? {
        println!("| {what} | {} |", shown(figure));
    }
    Ok(())
}

fn plan(mut arguments: pico_args::Arguments) -> Outcome<Plan> {
    let ours = arguments.value_from_os_str("--ours", path)?;
    let other = arguments.value_from_os_str("--other", path)?;
    let members = arguments.opt_value_from_str("--members")?.unwrap_or(50);
    let runs = arguments.opt_value_from_str("--runs")?.unwrap_or(3);
    let names = arguments.finish();
    let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
    if let Some(odd) = names.iter().find(|name| SCENARIOS.iter().all(|(known, _)| known != *name)) {
        let known: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no '{odd}'; there are: {}", known.join(" ")).into());
    }
    if !(3..=1000).contains(&members) || runs == 0 {
        return Err("from 3 to 1000 members, and at least one run".into());
    }
    let is_wanted = |(name, _): &&Scenario| names.is_empty() || names.contains(name);
    let scenarios = SCENARIOS.iter().filter(is_wanted).collect();
    Ok(Plan { programs: [ours, other], members, runs, scenarios })
}

fn path(text: &std::ffi::OsStr) -> Result<PathBuf, std::io::Error> {
    std::fs::canonicalize(text)
}

/// Measures, and prints a table.
fn run(plan: &Plan) -> Outcome<()> {
    println!("Measured on {}, {} members, median of {} runs.", machine(), plan.members, plan.runs);
    println!();
    let [ours, other] = plan.programs.each_ref().map(|program| version(program));
    println!("| what | {ours} | {other} | ratio |");
    println!("| --- | --- | --- | --- |");
    for (name, measure) in &plan.scenarios {
        let mut figures: [BTreeMap<&str, Vec<f64>>; 2] = Default::default();
        let mut order = Vec::new();
        for run in 0..plan.runs {
            for (program, figures) in plan.programs.iter().zip(&mut figures) {
                eprintln!("{name}, run {} of {}: {}", run + 1, plan.runs, program.display());
                let measured: Vec<Figure> = measure(program, plan.members).unwrap_or_else(|why| {
                    // It costs these figures and no others.
                    eprintln!("{name}, {}: {why}", program.display());
                    Vec::new()
                });
                for (what, figure) in measured {
                    if !order.contains(&what) {
                        order.push(what);
                    }
                    figures.entry(what).or_default().push(figure);
                }
            }
        }
        for what in order {
            let [ours, other] = figures.each_ref().map(|f| f.get(what).cloned().map_or(f64::NAN, median));
            let ratio =
                if other > 0.0 && (ours / other).is_finite() { shown(ours / other) } else { String::new() };
            println!("| {what} | {} | {} | {ratio} |", shown(ours), shown(other));
        }
    }
    Ok(())
}

/// Three digits, or that there is no such figure.
fn shown(figure: f64) -> String {
    match figure {
        _ if figure.is_nan() => "failed".into(),
        _ if figure.is_infinite() => "not all".into(),
        _ if figure >= 100.0 || figure == 0.0 => format!("{figure:.0}"),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ if figure < 0.1 => format!("{figure:.3}"),
        _ => format!("{figure:.2}"),
    }
}

/// The first line of `serf version`.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("?").to_string()
}

/// The day, the processor, and how many of them there are.
fn machine() -> String {
    let date = Command::new("date").arg("+%Y-%m-%d").output();
    let date =
        date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{date}, {count} × {}", model.map_or("a processor", |(_, model)| model))
}
