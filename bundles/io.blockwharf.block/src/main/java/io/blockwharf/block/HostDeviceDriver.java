package io.blockwharf.block;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.linux.HostFile;

import org.osgi.service.component.annotations.Component;

import java.util.Set;

/** Driver {@code host_device}: block devices of the host. */
@Component
@BlockDriverName("host_device")
public final class HostDeviceDriver implements BlockDriver<FileOptions> {
    @Override
    public BlockImage open(NodeSpec<FileOptions> spec) {
        return FileImage.open(
                "host_device",
                spec,
                kind ->
                        kind == HostFile.Kind.BLOCK_DEVICE
                                || kind == HostFile.Kind.CHARACTER_DEVICE,
                "'host_device' driver requires '%s' to be either a character or block device");
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
