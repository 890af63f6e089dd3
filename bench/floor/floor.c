/*
 * The floor under a container start: the kernel's work for Docker's default bundle and nothing else. No JSON, no state, no
 * checks, everything written down beforehand. usage: floor ROOTFS PROGRAM [ARGUMENT...]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const hierarchies[] = {
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified",
};
#define HIERARCHIES (sizeof hierarchies / sizeof *hierarchies)

static char groups[HIERARCHIES][128];
static int group_count;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void must(int result, const char *what)
{
    if (result < 0)
        die(what);
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, strlen(text));
    close(fd);
    return written < 0 ? -1 : 0;
}

/* A folder in every hierarchy that this machine mounts; a cpuset takes its parent's processors over. */
static void make_groups(void)
{
    for (size_t i = 0; i < HIERARCHIES; i++) {
        char *path = groups[group_count];
        snprintf(path, sizeof groups[0], "/sys/fs/cgroup/%s/floor-%d", hierarchies[i], getpid());
        if (mkdir(path, 0755) < 0)
            continue;
        group_count++;
        if (strcmp(hierarchies[i], "cpuset") == 0) {
            static const char *const inherited[] = { "cpuset.cpus", "cpuset.mems" };
            for (size_t k = 0; k < 2; k++) {
                char from[160], to[192], value[256] = "";
                snprintf(from, sizeof from, "/sys/fs/cgroup/cpuset/%s", inherited[k]);
                snprintf(to, sizeof to, "%s/%s", path, inherited[k]);
                int fd = open(from, O_RDONLY | O_CLOEXEC);
                if (fd >= 0 && read(fd, value, sizeof value - 1) > 0)
                    write_file(to, value);
                close(fd);
            }
        }
    }
}

static void join_groups(void)
{
    for (int i = 0; i < group_count; i++) {
        char path[1536];
        snprintf(path, sizeof path, "%s/tasks", groups[i]);
        if (write_file(path, "0") == 0)
            continue;
        snprintf(path, sizeof path, "%s/cgroup.procs", groups[i]);
        must(write_file(path, "0"), path);
    }
}

static void mount_at(const char *source, const char *target, const char *type, unsigned long flags, const char *data)
{
    must(mount(source, target, type, flags, data), target);
}

static void standard_mounts(void)
{
    const unsigned long safe = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    mkdir("proc", 0755), mkdir("dev", 0755), mkdir("sys", 0755);
    mount_at("proc", "proc", "proc", safe, NULL);
    mount_at("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    mkdir("dev/pts", 0755), mkdir("dev/mqueue", 0755), mkdir("dev/shm", 0755);
    mount_at("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount_at("sysfs", "sys", "sysfs", safe | MS_RDONLY, NULL);
    mount_at("tmpfs", "sys/fs/cgroup", "tmpfs", safe, "mode=755");
    for (int i = 0; i < group_count; i++) {
        char target[160];
        const char *hierarchy = groups[i] + strlen("/sys/fs/cgroup/");
        snprintf(target, sizeof target, "sys/fs/cgroup/%.*s", (int)(strchr(hierarchy, '/') - hierarchy), hierarchy);
        must(mkdir(target, 0755), target);
        mount_at(groups[i], target, NULL, MS_BIND, NULL);
        mount_at(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | safe, NULL);
    }
    mount_at(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_RDONLY | safe, NULL);
    mount_at("mqueue", "dev/mqueue", "mqueue", safe, NULL);
    mount_at("shm", "dev/shm", "tmpfs", safe, "mode=1777,size=65536k");
}

static void devices(void)
{
    static const struct { const char *path; unsigned major, minor; } nodes[] = {
        { "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 },
        { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
    };
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
        must(chmod(nodes[i].path, 0666), nodes[i].path);
    }
    must(symlink("/proc/self/fd", "dev/fd"), "dev/fd");
    must(symlink("/proc/self/fd/0", "dev/stdin"), "dev/stdin");
    must(symlink("/proc/self/fd/1", "dev/stdout"), "dev/stdout");
    must(symlink("/proc/self/fd/2", "dev/stderr"), "dev/stderr");
    must(symlink("pts/ptmx", "dev/ptmx"), "dev/ptmx");
}

static void enter_root(void)
{
    int old = open("/", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    must(old, "/");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(fchdir(old), "the old root");
    must(umount2(".", MNT_DETACH), "umount");
    must(chdir("/"), "/");
}

static void hide_paths(void)
{
    static const char *const masked[] = {
        "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    };
    static const char *const read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++) {
        if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) < 0)
            continue;
        mount_at(NULL, read_only[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    }
    for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
        if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno == ENOTDIR)
            mount_at("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL);
}

/* As long as Docker's default profile compiles to; lets everything through. */
static void load_filter(void)
{
    static struct sock_filter code[360];
    size_t last = sizeof code / sizeof *code - 1;
    for (size_t i = 0; i < last; i++)
        code[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    code[last] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

static void run_child(const char *root, char **command)
{
    join_groups();
    must(unshare(CLONE_NEWCGROUP), "cgroup namespace");
    mount_at(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
    mount_at(root, root, NULL, MS_BIND | MS_REC, NULL);
    must(chdir(root), root);
    standard_mounts();
    devices();
    enter_root();
    must(sethostname("floor", 5), "host name");
    hide_paths();
    for (int capability = 30; capability < 41; capability++)
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    load_filter();
    execv(command[0], command);
    die(command[0]);
}

int main(int count, char **words)
{
    if (count < 3) {
        fprintf(stderr, "usage: floor ROOTFS PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    make_groups();
    const unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | SIGCHLD;
    pid_t child = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, 0);
    must(child, "clone");
    if (child == 0)
        run_child(words[1], words + 2);
    int status = 0;
    must(waitpid(child, &status, 0), "wait");
    for (int i = 0; i < group_count; i++)
        rmdir(groups[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
