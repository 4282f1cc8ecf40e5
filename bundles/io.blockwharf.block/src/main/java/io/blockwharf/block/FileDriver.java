package io.blockwharf.block;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.linux.HostFile;

import org.osgi.service.component.annotations.Component;

import java.util.Set;

/** Driver {@code file}: regular files of the host. */
@Component
@BlockDriverName("file")
public final class FileDriver implements BlockDriver<FileOptions> {
    @Override
    public BlockImage open(NodeSpec<FileOptions> spec) {
        return FileImage.open(
                "file",
                spec,
                kind -> kind == HostFile.Kind.REGULAR,
                "'file' driver requires '%s' to be a regular file");
    }

    @Override
    public Set<String> changeableOptions() {
        return Set.of("drop-cache");
    }

    @Override
    public boolean reconfigure(BlockImage image, NodeSpec<FileOptions> spec) {
        ((FileImage) image).reconfigure(spec);
        return true;
    }
}
