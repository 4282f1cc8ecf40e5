package io.blockwharf.linux;

/**
 * Who a process is, as the kernel vouches for it (SO_PEERCRED, unix(7)).
 *
 * @param pid process id, 0 if it is in a namespace that this process does not see
 * @param uid effective user id when the socket was connected
 * @param gid effective group id when the socket was connected
 */
public record Credentials(int pid, int uid, int gid) {

    /** This process. */
    public static Credentials ofThisProcess() {
        return new Credentials(Libc.getpid(), Libc.geteuid(), Libc.getegid());
    }
}
