package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockCreator;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevCreateOptions;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.InstalledDrivers;
import io.blockwharf.core.qapi.Binder;
import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.OpenUnion;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;

import java.util.Map;

/** Those who make new images, by driver. May be called from any thread. */
@Component(service = {Creators.class, OpenUnion.class})
public final class Creators implements OpenUnion {
    private final ControlLock lock;
    private final BlockGraph graph;
    private final InstalledDrivers<BlockCreator<?>> creators =
            new InstalledDrivers<>(
                    BlockCreator.class, BlockdevCreateOptions.class, "block.driver.name");

    /** Options of images contain those of the nodes that they are made in. */
    private final Binder binder;

    /** Nobody yet; images are made in nodes of that graph. */
    @Activate
    public Creators(@Reference ControlLock lock, @Reference BlockGraph graph) {
        this.lock = lock;
        this.graph = graph;
        binder =
                new Binder(
                        union ->
                                union == BlockdevCreateOptions.class
                                        ? creators.of(union)
                                        : graph.branches().of(union));
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addCreator(BlockCreator<?> creator, Map<String, Object> properties) {
        try (var _ = lock.take()) {
            creators.add(creator, properties);
        }
    }

    void removeCreator(BlockCreator<?> creator, Map<String, Object> properties) {
        try (var _ = lock.take()) {
            creators.remove(creator, properties);
        }
    }

    @Override
    public Branches branches() {
        return creators;
    }

    /** Whether new images of a format can have a backing file. */
    boolean makesOverlays(String driver) {
        return creators.of(BlockdevCreateOptions.class).entrySet().stream()
                .filter(each -> each.getKey().equals(driver))
                .anyMatch(each -> BlockdevRefs.knows(each.getValue(), "backing-file"));
    }

    /** Options of an image to be made, {@code driver} among them. */
    BlockdevCreateOptions options(Map<String, Object> json) {
        return binder.bind(BlockdevCreateOptions.class, json, false);
    }

    /**
     * Who makes such images. Asked with the control lock that the options were bound with.
     *
     * @return what does it; takes as long as it takes, without the control lock unless its caller
     *     has it
     */
    public Work work(BlockdevCreateOptions options) {
        // Its type parameter is the class of these options: they have been bound by it.
        @SuppressWarnings("unchecked")
        BlockCreator<Record> creator =
                (BlockCreator<Record>) creators.find(options.driver()).orElseThrow();
        return () -> {
            Map<String, BlockNode> nodes = graph.borrow(options.options());
            try {
                creator.create(options.options(), nodes);
            } finally {
                nodes.values().forEach(BlockNode::close);
            }
        };
    }

    /** Makes an image. */
    @FunctionalInterface
    public interface Work {
        /**
         * Does it.
         *
         * @throws QmpException if the options make no sense
         * @throws BlockIoException if it could not be written
         */
        void run() throws BlockIoException;
    }
}
