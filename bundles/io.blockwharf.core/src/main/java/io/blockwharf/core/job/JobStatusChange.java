package io.blockwharf.core.job;

import io.blockwharf.api.qmp.QmpEventName;

/**
 * QMP event {@code JOB_STATUS_CHANGE}.
 *
 * @param id the job's id
 * @param status what it is in now
 */
@QmpEventName("JOB_STATUS_CHANGE")
public record JobStatusChange(String id, Jobs.Status status) {}
