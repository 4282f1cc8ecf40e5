package io.blockwharf.core.job;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code job-cancel}. */
@Component(service = QmpCommand.class)
@QmpName("job-cancel")
public final class JobCancel implements QmpCommand<JobCancel.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param id the job's id
     */
    public record Arguments(String id) {}

    private final Jobs jobs;

    /** Works on these. */
    @Activate
    public JobCancel(@Reference Jobs jobs) {
        this.jobs = jobs;
    }

    @Override
    public Nothing execute(JobCancel.Arguments arguments) {
        jobs.cancel(arguments.id());
        return Nothing.NOTHING;
    }
}
