package io.blockwharf.core.job;

import io.blockwharf.api.block.BlockCreator;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevCreateOptions;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.InstalledDrivers;
import io.blockwharf.core.graph.BlockGraph;
import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.OpenUnion;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;

import java.util.Map;

/** QMP {@code blockdev-create}: starts a job that makes an image. */
@Component(service = {QmpCommand.class, OpenUnion.class})
@QmpName("blockdev-create")
public final class BlockdevCreate
        implements QmpCommand<BlockdevCreate.Arguments, Nothing>, OpenUnion {
    /**
     * The arguments.
     *
     * @param jobId of the new job
     * @param options what to make
     */
    public record Arguments(String jobId, BlockdevCreateOptions options) {}

    private final ControlLock lock;
    private final Jobs jobs;
    private final BlockGraph graph;
    private final InstalledDrivers<BlockCreator<?>> creators =
            new InstalledDrivers<>(
                    BlockCreator.class, BlockdevCreateOptions.class, "block.driver.name");

    /** Opens nodes in that graph. */
    @Activate
    public BlockdevCreate(
            @Reference ControlLock lock, @Reference Jobs jobs, @Reference BlockGraph graph) {
        this.lock = lock;
        this.jobs = jobs;
        this.graph = graph;
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

    @Override
    public Nothing execute(Arguments arguments) {
        BlockdevCreateOptions made = arguments.options();
        // Its type parameter is the class of these options: the dispatcher has bound them by it.
        @SuppressWarnings("unchecked")
        BlockCreator<Record> creator =
                (BlockCreator<Record>) creators.find(made.driver()).orElseThrow();
        jobs.start(
                arguments.jobId(),
                Jobs.Type.CREATE,
                () -> {
                    Map<String, BlockNode> nodes = graph.borrow(made.options());
                    try {
                        creator.create(made.options(), nodes);
                    } finally {
                        nodes.values().forEach(BlockNode::close);
                    }
                });
        return Nothing.NOTHING;
    }
}
