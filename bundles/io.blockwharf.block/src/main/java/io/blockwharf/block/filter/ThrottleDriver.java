package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;
import java.util.Set;

/** Driver {@code throttle}: another node, no faster than a group of them may be. */
@Component
@BlockDriverName("throttle")
public final class ThrottleDriver implements BlockDriver<ThrottleDriver.Options> {
    /**
     * QAPI {@code BlockdevOptionsThrottle}.
     *
     * @param throttleGroup the id of a {@code throttle-group}
     * @param file the node
     */
    public record Options(String throttleGroup, BlockdevRef file) {}

    private final ObjectStore objects;

    /** Takes groups from there. */
    @Activate
    public ThrottleDriver(@Reference ObjectStore objects) {
        this.objects = objects;
    }

    @Override
    public BlockImage open(NodeSpec<Options> spec) {
        String group = spec.options().throttleGroup();
        return objects.use(group, ThrottleGroup.class)
                .map(use -> new ThrottleImage(spec.child("file"), group, use))
                .orElseThrow(
                        () -> QmpException.generic("Throttle group '%s' does not exist", group));
    }

    @Override
    public Optional<String> filteredChild() {
        return Optional.of("file");
    }

    @Override
    public Set<String> changeableOptions() {
        return Set.of("throttle-group");
    }
}
