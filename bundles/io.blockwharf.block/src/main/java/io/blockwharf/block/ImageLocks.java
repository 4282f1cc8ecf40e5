package io.blockwharf.block;

import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;

import java.util.EnumSet;
import java.util.Set;

/**
 * Protects an image from other processes as QEMU does (block/file-posix.c, "Posix file locking
 * bytes"): a shared open-file lock on byte 100 + n says that permission n is taken here, one on
 * byte 200 + n that it is not granted to others. Whoever wants permission n finds byte 200 + n
 * unlocked by others, and whoever does not grant it byte 100 + n. Closing the file releases
 * everything.
 *
 * <p>Changed under core's control lock only.
 */
final class ImageLocks {
    private static final int TAKEN = 100;
    private static final int NOT_SHARED = 200;

    private final HostFile file;
    private final String filename;
    private Set<Permission> taken = EnumSet.noneOf(Permission.class);
    private Set<Permission> notShared = EnumSet.noneOf(Permission.class);

    ImageLocks(HostFile file, String filename) {
        this.file = file;
        this.filename = filename;
    }

    /**
     * Takes and grants other permissions than before.
     *
     * @throws QmpException with the locks as they were
     */
    void change(Set<Permission> newTaken, Set<Permission> newShared) {
        Set<Permission> newNotShared = EnumSet.allOf(Permission.class);
        newNotShared.removeAll(newShared);
        try {
            // All locks first, the looks at others' after: two processes cannot miss each other
            lock(file, TAKEN, taken, newTaken);
            lock(file, NOT_SHARED, notShared, newNotShared);
            lookFor(NOT_SHARED, newTaken, taken, "Failed to get \"%s\" lock");
            lookFor(TAKEN, newNotShared, notShared, "Failed to get shared \"%s\" lock");
        } catch (QmpException e) {
            unlock(file, TAKEN, newTaken, taken);
            unlock(file, NOT_SHARED, newNotShared, notShared);
            throw e.withHint("Is another process using the image [" + filename + "]?");
        }
        unlock(file, TAKEN, taken, newTaken);
        unlock(file, NOT_SHARED, notShared, newNotShared);
        taken = copy(newTaken);
        notShared = newNotShared;
    }

    /**
     * Sets the same locks on another open file of the image, too.
     *
     * @throws QmpException with none set there
     */
    void copyTo(HostFile other) {
        Set<Permission> none = EnumSet.noneOf(Permission.class);
        try {
            lock(other, TAKEN, none, taken);
            lock(other, NOT_SHARED, none, notShared);
        } catch (QmpException e) {
            takeFrom(other);
            throw e.withHint("Is another process using the image [" + filename + "]?");
        }
    }

    /**
     * Gives up the locks on another open file of the image. To close it is not enough: somebody may
     * have it besides us, for example the client that has passed it.
     */
    void takeFrom(HostFile other) {
        Set<Permission> none = EnumSet.noneOf(Permission.class);
        unlock(other, TAKEN, taken, none);
        unlock(other, NOT_SHARED, notShared, none);
    }

    private static Set<Permission> copy(Set<Permission> permissions) {
        Set<Permission> copy = EnumSet.noneOf(Permission.class);
        copy.addAll(permissions);
        return copy;
    }

    private static void lock(
            HostFile file, int base, Set<Permission> before, Set<Permission> after) {
        for (Permission permission : after) {
            long at = base + permission.ordinal();
            try {
                if (!before.contains(permission) && !file.tryLock(at, 1, false)) {
                    throw QmpException.generic("Failed to lock byte %d", at);
                }
            } catch (LinuxException e) {
                throw new QmpException("Failed to lock byte " + at + ": " + reason(e), e);
            }
        }
    }

    /** Others' locks that are in the way of what is new. */
    private void lookFor(int base, Set<Permission> wanted, Set<Permission> had, String complaint) {
        for (Permission permission : wanted) {
            String message = complaint.formatted(permission);
            try {
                if (!had.contains(permission)
                        && file.isLockedByOther(base + permission.ordinal(), 1, true)) {
                    throw QmpException.generic("%s", message);
                }
            } catch (LinuxException e) {
                throw new QmpException(message + ": " + reason(e), e);
            }
        }
    }

    /** Gives up what is in {@code before} and not in {@code after}. */
    private static void unlock(
            HostFile file, int base, Set<Permission> before, Set<Permission> after) {
        for (Permission permission : before) {
            if (!after.contains(permission)) {
                try {
                    file.unlock(base + permission.ordinal(), 1);
                } catch (LinuxException e) {
                    // Unlocking fails on network file systems that are in trouble at most; a lock
                    // too
                    // many errs on the safe side, and goes with the file
                }
            }
        }
    }

    private static String reason(LinuxException e) {
        return io.blockwharf.linux.Errnos.text(e.errno());
    }
}
