package io.blockwharf.linux;

import com.sun.jna.Native;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Numbered sets of descriptors of files that clients of monitors passed ({@code add-fd}). {@link
 * HostFile} opens {@code /dev/fdset/N} by duplicating the member of set N that was opened for the
 * same access. QEMU's {@code monitor/fds.c}.
 *
 * <p>A member that was removed is closed at once; a set lasts as long as it has members or open
 * files. When the last client of all monitors has gone, the members of sets without open files are
 * closed. Thread-safe.
 */
public final class FdSets {
    /** Members of all sets: a client must not fill the descriptor table. */
    public static final int MAX = 1024;

    private static final FdSets OF_PROCESS = new FdSets();

    private static final String PREFIX = "/dev/fdset/";
    private static final Pattern PATH = Pattern.compile(PREFIX + "(.*)", Pattern.DOTALL);
    private static final int O_ACCMODE = 3;
    private static final int O_APPEND = 0x400;
    private static final int O_ASYNC = 0x2000;
    private static final int O_NOATIME = 0x40000;

    private record Opened(Descriptor descriptor, Optional<String> opaque) {}

    private static final class FdSet {
        /** Newest first, which is the order in which they are tried. */
        private final List<Opened> members = new ArrayList<>();

        private int duplicates;
    }

    /**
     * A descriptor of a set.
     *
     * @param fd its number, which stays the set's
     * @param opaque what the client said about it
     */
    public record Member(int fd, Optional<String> opaque) {}

    /**
     * A set.
     *
     * @param id not negative
     * @param members oldest first
     */
    public record Info(long id, List<Member> members) {}

    private final Map<Long, FdSet> sets = new TreeMap<>();
    private int members;
    private int clients;

    FdSets() {}

    /** The sets of this process. */
    public static FdSets ofProcess() {
        return OF_PROCESS;
    }

    /**
     * Puts a descriptor into a set, which is made if there is none.
     *
     * @param wanted the set; if empty, a new one with the first number that is free
     * @param descriptor belongs to this object, also if it is refused
     * @return the number of the set
     * @throws LinuxException if the number is negative, or there are {@link #MAX} members
     */
    public synchronized long add(
            Optional<Long> wanted, Descriptor descriptor, Optional<String> opaque)
            throws LinuxException {
        if (wanted.isPresent() && wanted.get() < 0) {
            descriptor.close();
            throw LinuxException.sentence(
                    "Parameter 'fdset-id' expects a non-negative value", Errnos.EINVAL);
        }
        if (members == MAX) {
            descriptor.close();
            throw LinuxException.sentence("Too many file descriptors in sets", Errnos.EMFILE);
        }
        long id = wanted.orElseGet(this::firstFree);
        sets.computeIfAbsent(id, _ -> new FdSet()).members.addFirst(new Opened(descriptor, opaque));
        members++;
        return id;
    }

    private long firstFree() {
        long id = 0;
        while (sets.containsKey(id)) {
            id++;
        }
        return id;
    }

    /**
     * Closes one or all members of a set. Files that were opened from it stay open.
     *
     * @param fd the number of the member; if empty, all
     * @return false if there is no such member
     */
    public synchronized boolean remove(long id, Optional<Long> fd) {
        FdSet set = sets.get(id);
        if (set == null) {
            return false;
        }
        boolean found = fd.isEmpty();
        for (Opened member : List.copyOf(set.members)) {
            if (fd.isEmpty() || member.descriptor().fd() == fd.get()) {
                found = true;
                close(set, member);
            }
        }
        forget(id, set);
        return found;
    }

    private void close(FdSet set, Opened member) {
        set.members.remove(member);
        member.descriptor().close();
        members--;
    }

    private void forget(long id, FdSet set) {
        if (set.members.isEmpty() && set.duplicates == 0) {
            sets.remove(id);
        }
    }

    /** All sets, the highest number first: QEMU's order. */
    public synchronized List<Info> list() {
        List<Info> infos = new ArrayList<>();
        sets.forEach(
                (id, set) ->
                        infos.addFirst(
                                new Info(
                                        id,
                                        set.members.reversed().stream()
                                                .map(
                                                        member ->
                                                                new Member(
                                                                        member.descriptor().fd(),
                                                                        member.opaque()))
                                                .toList())));
        return infos;
    }

    /** Counts a client of a monitor. */
    public synchronized void clientCame() {
        clients++;
    }

    /** Counts it out again. */
    public synchronized void clientLeft() {
        clients--;
        cleanUp();
    }

    private void cleanUp() {
        if (clients > 0) {
            return;
        }
        for (Map.Entry<Long, FdSet> entry : List.copyOf(sets.entrySet())) {
            FdSet set = entry.getValue();
            if (set.duplicates == 0) {
                List.copyOf(set.members).forEach(member -> close(set, member));
            }
            forget(entry.getKey(), set);
        }
    }

    // --- Files that are opened from a set ----------------------------------------------------

    /** A file that was opened from a set. {@link #close} only counts it out. */
    final class Duplicate implements AutoCloseable {
        private final long id;
        private final int fd;
        private boolean closed;

        private Duplicate(long id, int fd) {
            this.id = id;
            this.fd = fd;
        }

        /** The descriptor, which belongs to the caller. */
        int fd() {
            return fd;
        }

        /** What {@link FdSets#open} takes for the same set. */
        String path() {
            return PREFIX + id;
        }

        @Override
        public void close() {
            synchronized (FdSets.this) {
                FdSet set = sets.get(id);
                if (closed) {
                    return;
                }
                closed = true;
                set.duplicates--;
                forget(id, set);
                cleanUp();
            }
        }
    }

    /** Whether {@link #open} is for that path. */
    static boolean isPath(String path) {
        return path.startsWith(PREFIX);
    }

    /**
     * Duplicates a member of the set that the path names.
     *
     * @param flags open(2)'s; the access must be that of the member, what fcntl(2) can change is
     *     changed, and {@code O_TRUNC} empties the file
     */
    synchronized Duplicate open(String path, int flags) throws LinuxException {
        Matcher matcher = PATH.matcher(path);
        long id;
        try {
            id = Long.parseLong(matcher.matches() ? matcher.group(1) : "");
        } catch (NumberFormatException e) {
            throw LinuxException.sentence("Could not parse fdset " + path, Errnos.EINVAL);
        }
        try {
            FdSet set = sets.get(id);
            if (set == null) {
                throw new LinuxException("", Errnos.ENOENT);
            }
            Duplicate duplicate = new Duplicate(id, duplicate(set, flags));
            set.duplicates++;
            return duplicate;
        } catch (LinuxException e) {
            throw new LinuxException(
                    "Could not dup FD for %s flags %x".formatted(path, flags), e.errno());
        }
    }

    private static int duplicate(FdSet set, int flags) throws LinuxException {
        int changeable = O_APPEND | O_ASYNC | Libc.O_NONBLOCK | HostFile.O_DIRECT | O_NOATIME;
        for (Opened member : set.members) {
            int has =
                    LinuxException.check(
                            Libc.fcntl(member.descriptor().fd(), Libc.F_GETFL, 0), "fcntl F_GETFL");
            if ((has & O_ACCMODE) != (flags & O_ACCMODE)) {
                continue;
            }
            Descriptor duplicate =
                    new Descriptor(
                            LinuxException.check(
                                    Libc.fcntl(member.descriptor().fd(), Libc.F_DUPFD_CLOEXEC, 0),
                                    "fcntl F_DUPFD_CLOEXEC"));
            int wanted = has & ~changeable | flags & changeable;
            boolean truncate = (flags & Libc.O_TRUNC) != 0;
            if (Libc.fcntl(duplicate.fd(), Libc.F_SETFL, wanted) < 0
                    || truncate && Libc.ftruncate(duplicate.fd(), 0) < 0) {
                int errno = Native.getLastError();
                duplicate.close();
                throw new LinuxException("fcntl F_SETFL", errno);
            }
            return duplicate.release();
        }
        throw new LinuxException("", Errnos.EACCES);
    }
}
