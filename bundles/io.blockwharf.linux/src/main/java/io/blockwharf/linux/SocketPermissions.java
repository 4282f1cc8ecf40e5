package io.blockwharf.linux;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.UserPrincipalLookupService;
import java.nio.file.attribute.UserPrincipalNotFoundException;
import java.util.Optional;

/** Owner, group and mode of the file of a local socket; symbolic links are not followed. */
final class SocketPermissions {
    private static final int AT_FDCWD = -100;
    private static final int AT_SYMLINK_NOFOLLOW = 0x100;
    private static final int OCTAL = 8;

    private SocketPermissions() {}

    /** Gives the file what the address says, if it says something. */
    static void apply(SocketAddress.Unix address) throws LinuxException {
        if (address.owner().isPresent() || address.group().isPresent()) {
            give(Path.of(address.path()), address.owner(), address.group());
        }
        if (address.mode().isPresent()) {
            int mode = Integer.parseInt(address.mode().get(), OCTAL);
            try (Arena arena = Arena.ofConfined()) {
                LinuxException.check(
                        Libc.fchmodat(
                                AT_FDCWD,
                                arena.allocateFrom(address.path()).address(),
                                mode,
                                AT_SYMLINK_NOFOLLOW),
                        "Failed to change the mode of " + address.path());
            }
        }
    }

    private static void give(Path path, Optional<String> owner, Optional<String> group)
            throws LinuxException {
        PosixFileAttributeView file =
                Files.getFileAttributeView(
                        path, PosixFileAttributeView.class, LinkOption.NOFOLLOW_LINKS);
        UserPrincipalLookupService names = path.getFileSystem().getUserPrincipalLookupService();
        try {
            if (owner.isPresent()) {
                file.setOwner(known(names::lookupPrincipalByName, "user", owner.get()));
            }
            if (group.isPresent()) {
                file.setGroup(known(names::lookupPrincipalByGroupName, "group", group.get()));
            }
        } catch (LinuxException e) {
            throw e;
        } catch (FileSystemException e) {
            throw LinuxException.sentence(
                    "Failed to change the owner of " + path + ": " + e.getReason(), Errnos.EPERM);
        } catch (IOException e) {
            throw LinuxException.sentence(
                    "Failed to change the owner of " + path + ": " + e.getMessage(), Errnos.EIO);
        }
    }

    private interface LookUp<T> {
        T find(String name) throws IOException;
    }

    private static <T> T known(LookUp<T> lookUp, String what, String name) throws IOException {
        try {
            return lookUp.find(name);
        } catch (UserPrincipalNotFoundException e) {
            throw LinuxException.sentence(
                    "There is no %s '%s'".formatted(what, name), Errnos.EINVAL);
        }
    }
}
