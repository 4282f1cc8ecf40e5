package io.blockwharf.core.job;

import io.blockwharf.api.block.BlockCreator;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevCreateOptions;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.core.graph.BlockGraph;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** QMP {@code blockdev-create}: starts a job that makes an image. */
@Component(service = QmpCommand.class)
@QmpName("blockdev-create")
public final class BlockdevCreate implements QmpCommand<BlockdevCreate.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param jobId of the new job
     * @param options what to make
     */
    public record Arguments(String jobId, BlockdevCreateOptions options) {}

    private final Jobs jobs;
    private final BlockGraph graph;
    private final Map<String, BlockCreator<?>> creators = new ConcurrentHashMap<>();

    /** Opens nodes in that graph. */
    @Activate
    public BlockdevCreate(@Reference Jobs jobs, @Reference BlockGraph graph) {
        this.jobs = jobs;
        this.graph = graph;
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addCreator(BlockCreator<?> creator, Map<String, Object> properties) {
        creators.put(String.valueOf(properties.get("block.driver.name")), creator);
    }

    void removeCreator(BlockCreator<?> creator) {
        creators.values().remove(creator);
    }

    @Override
    public Nothing execute(Arguments arguments) {
        BlockdevCreateOptions made = arguments.options();
        // Its type parameter is the class of these options: the dispatcher has bound them by it.
        @SuppressWarnings("unchecked")
        BlockCreator<Record> creator = (BlockCreator<Record>) creators.get(made.driver());
        if (creator == null) {
            throw QmpException.generic("Driver does not support blockdev-create");
        }
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
