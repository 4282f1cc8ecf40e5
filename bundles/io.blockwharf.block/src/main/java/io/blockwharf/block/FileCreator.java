package io.blockwharf.block;

import io.blockwharf.api.block.BlockCreator;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.block.FileCreateOptions.PreallocMode;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;

import org.osgi.service.component.annotations.Component;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.Set;

/** Makes files: {@code blockdev-create} with driver {@code file}. */
@Component(service = BlockCreator.class)
@BlockDriverName("file")
public final class FileCreator implements BlockCreator<FileCreateOptions> {
    @Override
    public void create(FileCreateOptions options, Map<String, BlockNode> nodes)
            throws BlockIoException {
        PreallocMode mode = options.preallocation().orElse(PreallocMode.OFF);
        if (mode == PreallocMode.METADATA) {
            throw QmpException.generic("Unsupported preallocation mode 'metadata'");
        }
        Path path = Path.of(options.filename());
        try {
            Files.createFile(
                    path,
                    PosixFilePermissions.asFileAttribute(
                            PosixFilePermissions.fromString("rw-r--r--")));
        } catch (FileAlreadyExistsException e) {
            // overwritten below
        } catch (IOException e) {
            throw new BlockIoException(
                    Errno.EIO, "Could not create '%s': %s".formatted(path, reason(e)), e);
        }
        try (HostFile file = HostFile.open(options.filename(), Set.of(HostFile.Flag.WRITE))) {
            var locks = new ImageLocks(file, options.filename());
            var changed =
                    Set.of(
                            io.blockwharf.api.block.Permission.WRITE,
                            io.blockwharf.api.block.Permission.RESIZE);
            locks.change(changed, Set.of());
            file.truncate(0);
            file.truncate(options.size());
            if (mode != PreallocMode.OFF && options.size() > 0) {
                file.allocate(0, options.size()); // "full" as well: the space is there either way
            }
            file.sync();
        } catch (LinuxException e) {
            throw FileImage.failed(e);
        }
    }

    private static String reason(IOException e) {
        return switch (e) {
            case NoSuchFileException _ -> "No such file or directory";
            case AccessDeniedException _ -> "Permission denied";
            case FileSystemException other when other.getReason() != null -> other.getReason();
            default -> e.getMessage();
        };
    }
}
