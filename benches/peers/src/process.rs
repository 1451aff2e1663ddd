//! CPU time and memory of processes, from the kernel.

use std::fs;
use std::io;

/// Nanoseconds of CPU that a process has used, user and system, all threads; 0 once it has ended.
#[must_use]
pub fn cpu_nanos(process: u32) -> u64 {
    // The kernel's clock of another process: its number inverted, and 2 for the scheduler's own
    // accounting, which counts nanoseconds where `/proc` counts hundredths of a second.
    read_clock((!process as libc::clockid_t) << 3 | 2)
}

/// Nanoseconds of CPU that this process has used.
#[must_use]
pub fn own_cpu_nanos() -> u64 {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds of CPU that this thread has used.
#[must_use]
pub fn thread_cpu_nanos() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that outlives the call; an unknown clock is an error.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return 0;
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Bytes of memory that a process has had at most; 0 once it has ended.
#[must_use]
pub fn peak_bytes(process: u32) -> u64 {
    status_bytes(process, "VmHWM:")
}

/// Bytes of memory that a process has now; 0 once it has ended.
#[must_use]
pub fn resident_bytes(process: u32) -> u64 {
    status_bytes(process, "VmRSS:")
}

fn status_bytes(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Lets this process have as many open files as the system allows, and returns how many.
///
/// # Errors
///
/// What the kernel says.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a value that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_by_its_number_is_its_own() {
        let before = own_cpu_nanos();
        let told = cpu_nanos(std::process::id());
        let after = own_cpu_nanos();
        assert!((before..=after).contains(&told), "{before} {told} {after}");
        assert!(before > 0);
    }

    #[test]
    fn the_peak_is_at_least_what_is_resident() {
        let process = std::process::id();
        let resident = resident_bytes(process);
        assert!(resident > 0 && resident <= peak_bytes(process));
    }
}
