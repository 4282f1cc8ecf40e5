package io.blockwharf.core.job;

import io.blockwharf.api.block.BlockdevCreateOptions;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.core.graph.Creators;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

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
    private final Creators creators;

    /** Has the images made by those. */
    @Activate
    public BlockdevCreate(@Reference Jobs jobs, @Reference Creators creators) {
        this.jobs = jobs;
        this.creators = creators;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        Creators.Work work = creators.work(arguments.options());
        jobs.start(arguments.jobId(), Jobs.Type.CREATE, work::run);
        return Nothing.NOTHING;
    }
}
