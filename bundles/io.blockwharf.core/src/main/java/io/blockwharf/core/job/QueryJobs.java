package io.blockwharf.core.job;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code query-jobs}. */
@Component(service = QmpCommand.class)
@QmpName("query-jobs")
public final class QueryJobs implements QmpCommand<Nothing, List<Jobs.JobInfo>> {
    private final Jobs jobs;

    /** Works on these. */
    @Activate
    public QueryJobs(@Reference Jobs jobs) {
        this.jobs = jobs;
    }

    @Override
    public List<Jobs.JobInfo> execute(Nothing arguments) {
        return jobs.list();
    }
}
