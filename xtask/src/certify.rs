//! Has a machine tell what can be reached from where, and writes down what that proves.

#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use checker::{Certificate, Unstarted, Whole};
use plan::Plan;
use proto::certificate::{Part, Survey};
use proto::{Answer, Command, VmInfo, VmState};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a machine is left alone that is not ready, by the wall clock.
const WAIT: Duration = Duration::from_millis(20);
/// How often it is asked again that has no room for the answer.
const AGAIN: u32 = 20;

/// A machine that answers, and the wall clock beside it.
pub struct Asked<'a> {
    /// Has it carry out a command
    pub ask: &'a mut dyn FnMut(Command) -> Result<Answer>,
    /// Lets time pass
    pub pause: &'a mut dyn FnMut(Duration),
}

impl Asked<'_> {
    /// Waits until all VMs of the plan run, and starts those that do not by themselves; then until so many nanoseconds have passed since
    /// the hypervisor was entered.
    ///
    /// # Errors
    /// When the machine does not answer or refuses, or a VM has ended.
    pub fn wait(&mut self, plan: &Plan, at: u64) -> Result<()> {
        while !self.all_run(plan)? {
            (self.pause)(WAIT);
        }
        loop {
            match (self.ask)(Command::Times)? {
                Answer::Times(times) if times.tsc.nanos(times.now.since(times.entered)) >= at => {
                    return Ok(());
                }
                Answer::Times(_) => (self.pause)(WAIT),
                answer => return Err(other(answer)),
            }
        }
    }

    fn all_run(&mut self, plan: &Plan) -> Result<bool> {
        let vms = match (self.ask)(Command::List)? {
            Answer::Vms(vms) => vms,
            answer => return Err(other(answer)),
        };
        let mut all = true;
        for (vm, planned) in vms.iter().zip(&plan.vms) {
            match vm {
                VmInfo {
                    state: VmState::Running,
                    ..
                } => continue,
                VmInfo {
                    state: VmState::Off,
                    last_end: Some(why),
                    ..
                } => {
                    bail!(
                        "{} has ended ({why}): only a VM that runs can be certified",
                        vm.name
                    )
                }
                VmInfo {
                    state: VmState::Off,
                    ..
                } if !planned.autostart => {
                    let vm = vm.name.clone();
                    if let Answer::Refused(why) = (self.ask)(Command::Start { vm })? {
                        bail!(why);
                    }
                }
                _ => {}
            }
            all = false;
        }
        Ok(all)
    }

    /// Has it tell all that there is.
    ///
    /// # Errors
    /// When the machine does not answer, or refuses.
    pub fn collect(&mut self, plan: &Plan) -> Result<Whole> {
        let Survey::Host(host) = self.survey(Part::Host)? else {
            return Err(other(Answer::Unknown));
        };
        let mut whole = Whole {
            host,
            vms: Vec::new(),
            vcpus: Vec::new(),
            unstarted: Vec::new(),
        };
        for (vm, planned) in (0..).zip(&plan.vms) {
            self.add(&mut whole, Part::Vm { vm })?;
            for vcpu in 0..planned.vcpus {
                self.add(&mut whole, Part::Vcpu { vm, vcpu })?;
            }
        }
        Ok(whole)
    }

    fn add(&mut self, whole: &mut Whole, part: Part) -> Result<()> {
        match self.survey(part)? {
            Survey::Vm(vm) => whole.vms.push(vm),
            Survey::Vcpu(vcpu) => whole.vcpus.push(vcpu),
            Survey::Unstarted { vm, vcpu, vmcs } => {
                whole.unstarted.push(Unstarted { vm, vcpu, vmcs })
            }
            Survey::Host(_) => return Err(other(Answer::Unknown)),
        }
        Ok(())
    }

    fn survey(&mut self, part: Part) -> Result<Survey> {
        let mut again = 0;
        loop {
            match (self.ask)(Command::Certify { part })? {
                Answer::Survey(survey) => return Ok(*survey),
                // The line may be full of what guests print.
                Answer::Refused(_) if again < AGAIN => again += 1,
                answer => return Err(other(answer)),
            }
            (self.pause)(WAIT);
        }
    }
}

fn other(answer: Answer) -> anyhow::Error {
    match answer {
        Answer::Refused(why) => anyhow::Error::msg(why),
        _ => anyhow::Error::msg("The machine answers something else than it was asked."),
    }
}

/// Writes `certificate.html` and `certificate.json` into a folder, which is made if there is none, and gives their places.
///
/// # Errors
/// When a file cannot be written.
pub fn write(certificate: &Certificate, folder: &Path) -> Result<[PathBuf; 2]> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let put = |name, text: String| -> Result<PathBuf> {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    Ok([
        put("certificate.html", certificate.page())?,
        put("certificate.json", certificate.json()?)?,
    ])
}
