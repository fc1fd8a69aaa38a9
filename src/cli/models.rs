//! `sentor models`: lists and checks the configured models.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde::Serialize;

use sentor_analysis::Settings;
use sentor_engine::registry::ModelFolder;

use super::session;
use super::{Exit, GlobalArgs};

/// Show or check the models.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelsCommand {
    /// Show the configured models: name, version, languages, signature, size and path
    List(ListArgs),
    /// Check the models: manifest, SHA-256 of each file, and a first run
    ///
    /// The exit code is 4 if a model fails a check.
    Verify(ListArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Model folders [default: those of the configuration]
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,

    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ModelsArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let settings = session::settings(global)?;
    match &args.command {
        ModelsCommand::List(args) => list(args, &settings),
        ModelsCommand::Verify(args) => verify(args, &settings),
    }
}

/// A model as `models list` shows it.
#[derive(Serialize)]
struct Model {
    name: String,
    version: String,
    languages: Vec<&'static str>,
    signature: &'static str,
    size_bytes: u64,
    path: PathBuf,
}

impl Model {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let folder = ModelFolder::open(path)?;
        let manifest = folder.manifest();
        Ok(Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            languages: manifest.languages.iter().map(|language| language.code()).collect(),
            signature: manifest.signature.name(),
            size_bytes: folder.size_bytes(),
            path: path.to_owned(),
        })
    }
}

fn list(args: &ListArgs, settings: &Settings) -> anyhow::Result<Exit> {
    let folders = folders(args, settings);
    let models = folders.iter().map(|folder| Model::read(folder)).collect::<anyhow::Result<Vec<_>>>()?;
    let stdout = &mut io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut *stdout, &serde_json::json!({ "models": models }))?;
        writeln!(stdout)?;
        return Ok(Exit::Ok);
    }
    let columns = |[name, version, languages, signature, size, path]: [&str; 6]| {
        format!("{name:<16}  {version:<8}  {languages:<9}  {signature:<9}  {size:>10}  {path}")
    };
    writeln!(stdout, "{}", columns(["name", "version", "languages", "signature", "size", "path"]))?;
    for model in &models {
        let size = format!("{:.1} MiB", model.size_bytes as f64 / f64::from(1 << 20));
        let languages = model.languages.join(" ");
        let path = model.path.display().to_string();
        writeln!(
            stdout,
            "{}",
            columns([&model.name, &model.version, &languages, model.signature, &size, &path])
        )?;
    }
    Ok(Exit::Ok)
}

/// Returns the folders, each once.
fn folders(args: &ListArgs, settings: &Settings) -> Vec<PathBuf> {
    if !args.folders.is_empty() {
        return args.folders.clone();
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for (_, folder) in &settings.models {
        if !folders.contains(folder) {
            folders.push(folder.clone());
        }
    }
    folders
}

/// A model as `models verify` shows it.
#[derive(Serialize)]
struct Verdict {
    path: PathBuf,
    ok: bool,
    /// The first problem; `None` if the model is fine.
    problem: Option<String>,
}

/// Checks every folder, even after a failure.
fn verify(args: &ListArgs, settings: &Settings) -> anyhow::Result<Exit> {
    let folders = folders(args, settings);
    let mut verdicts: Vec<Verdict> = folders.into_iter().map(Verdict::check_files).collect();
    // ONNX Runtime starts once in a process, so all models with valid files are loaded together.
    let sound: Vec<&mut Verdict> = verdicts.iter_mut().filter(|verdict| verdict.ok).collect();
    if let Err(error) = load(&sound, settings) {
        assign_problem(sound, &error.to_string());
    }
    let stdout = &mut io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut *stdout, &serde_json::json!({ "models": verdicts }))?;
        writeln!(stdout)?;
    } else {
        for verdict in &verdicts {
            let outcome = verdict.problem.as_deref().unwrap_or("ok");
            writeln!(stdout, "{}: {outcome}", verdict.path.display())?;
        }
    }
    Ok(if verdicts.iter().all(|verdict| verdict.ok) { Exit::Ok } else { Exit::Models })
}

impl Verdict {
    /// Checks the manifest, and the files against it.
    fn check_files(path: PathBuf) -> Self {
        let checked = ModelFolder::open(&path).and_then(|folder| folder.verify());
        let problem = checked.err().map(|error| error.to_string());
        Self { path, ok: problem.is_none(), problem }
    }

    fn fail(&mut self, problem: &str) {
        self.ok = false;
        self.problem = Some(problem.to_owned());
    }
}

/// Loads the models and runs each once, as the server does at start.
fn load(verdicts: &[&mut Verdict], settings: &Settings) -> anyhow::Result<()> {
    let mut models = Vec::new();
    for verdict in verdicts {
        let folder = ModelFolder::open(&verdict.path)?;
        models.extend(folder.manifest().languages.iter().map(|&language| (language, verdict.path.clone())));
    }
    if models.is_empty() {
        return Ok(());
    }
    let session = session::start(&Settings { models, workers: Some(1), ..settings.clone() })?;
    ensure!(session.0.models().iter().all(|model| model.ready), "the first run failed");
    Ok(())
}

/// Assigns a problem to the models whose paths it names, or to all if it names none.
fn assign_problem(verdicts: Vec<&mut Verdict>, problem: &str) {
    let names = |verdict: &Verdict| problem.contains(&*verdict.path.to_string_lossy());
    let is_told = verdicts.iter().any(|verdict| names(verdict));
    for verdict in verdicts {
        if !is_told || names(verdict) {
            verdict.fail(problem);
        } else {
            verdict.fail("not loaded, since another model cannot be");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_assigned_to_the_model_that_it_names() {
        let verdict = |path: &str| Verdict { path: path.into(), ok: true, problem: None };
        let [mut a, mut b] = [verdict("models/a"), verdict("models/b")];
        assign_problem(vec![&mut a, &mut b], "cannot use the network models/b/model.onnx");
        assert!(a.problem.is_some_and(|problem| problem.starts_with("not loaded")));
        assert!(b.problem.is_some_and(|problem| problem.starts_with("cannot use")));
        let mut a = verdict("models/a");
        assign_problem(vec![&mut a], "ONNX Runtime is missing");
        assert!(!a.ok);
    }

    #[test]
    fn a_folder_without_a_manifest_fails() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        assert!(!Verdict::check_files(folder.path().to_owned()).ok);
    }
}
