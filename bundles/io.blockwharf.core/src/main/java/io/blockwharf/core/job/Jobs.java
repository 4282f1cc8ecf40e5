package io.blockwharf.core.job;

import io.blockwharf.api.qmp.QmpEvents;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * The jobs by id: QEMU's job.c. A job runs on a thread of its own and stays, concluded, until it is
 * dismissed. May be called from any thread; takes no lock but its own, and calls nobody with it.
 *
 * <p>Block jobs will add statuses that are entered only by them: {@code ready}, {@code standby},
 * {@code paused}.
 */
@Component(service = Jobs.class)
public final class Jobs {
    private static final Pattern WELL_FORMED = Pattern.compile("[A-Za-z][A-Za-z0-9._-]*");

    /** QAPI {@code JobType}. */
    public enum Type {
        /** {@code block-commit}. */
        COMMIT,
        /** {@code block-stream}. */
        STREAM,
        /** {@code blockdev-mirror}. */
        MIRROR,
        /** {@code blockdev-backup}. */
        BACKUP,
        /** {@code blockdev-create}. */
        CREATE,
        /** {@code x-blockdev-amend}. */
        AMEND
    }

    /** QAPI {@code JobStatus}. */
    public enum Status {
        /** Not entered yet. */
        UNDEFINED,
        /** There, not started. */
        CREATED,
        /** At work. */
        RUNNING,
        /** Stopped for a while. */
        PAUSED,
        /** Done but for its end. */
        READY,
        /** Stopped when it was ready. */
        STANDBY,
        /** Waits for jobs of its transaction. */
        WAITING,
        /** Waits for its end to be asked for. */
        PENDING,
        /** Cleans up after a failure. */
        ABORTING,
        /** Over. */
        CONCLUDED,
        /** Gone. */
        NULL
    }

    /**
     * QAPI {@code JobInfo}.
     *
     * @param id the job's id
     * @param type what it does
     * @param status how far it is
     * @param currentProgress what is done, in no unit
     * @param totalProgress what it will be in the end
     * @param error why it failed
     */
    public record JobInfo(
            String id,
            Type type,
            Status status,
            long currentProgress,
            long totalProgress,
            Optional<String> error) {}

    /** What a job does. */
    @FunctionalInterface
    public interface Work {
        /**
         * Does it.
         *
         * @throws Exception why it could not be done
         */
        void run() throws Exception;
    }

    private static final class Job {
        final String id;
        final Type type;
        Status status = Status.UNDEFINED;
        boolean done;
        boolean cancelled;
        Optional<String> error = Optional.empty();
        Thread thread;

        Job(String id, Type type) {
            this.id = id;
            this.type = type;
        }
    }

    private final QmpEvents events;
    private final Logger logger;
    private final Map<String, Job> jobs = new LinkedHashMap<>();

    /** None yet. */
    @Activate
    public Jobs(
            @Reference QmpEvents events, @Reference(service = LoggerFactory.class) Logger logger) {
        this.events = events;
        this.logger = logger;
    }

    /** Waits for jobs that are at work: an image half made is of no use. */
    @Deactivate
    void close() throws InterruptedException {
        List<Thread> threads;
        synchronized (this) {
            threads = jobs.values().stream().map(job -> job.thread).toList();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    /**
     * Starts a job.
     *
     * @throws QmpException if there is one of that id
     */
    public void start(String id, Type type, Work work) {
        Job job = new Job(id, type);
        synchronized (this) {
            if (!WELL_FORMED.matcher(id).matches()) {
                throw QmpException.generic("Invalid job ID '%s'", id);
            }
            if (jobs.containsKey(id)) {
                throw QmpException.generic("Job ID '%s' already in use", id);
            }
            jobs.put(id, job);
            job.thread =
                    Thread.ofPlatform()
                            .name("blockwharf-job-" + id)
                            .unstarted(() -> run(job, work));
        }
        enter(job, Status.CREATED);
        enter(job, Status.RUNNING);
        job.thread.start();
    }

    private void run(Job job, Work work) {
        Optional<String> error = Optional.empty();
        try {
            work.run();
        } catch (QmpException | java.io.IOException e) {
            error = Optional.of(String.valueOf(e.getMessage()));
        } catch (Exception | LinkageError bug) {
            logger.error("Job {} failed unexpectedly", job.id, bug);
            error = Optional.of("Internal error: " + bug);
        }
        synchronized (this) {
            job.done = error.isEmpty();
            job.error = job.cancelled ? Optional.of("Operation canceled") : error;
            error = job.error;
        }
        if (error.isEmpty()) {
            enter(job, Status.WAITING);
            enter(job, Status.PENDING);
        } else {
            enter(job, Status.ABORTING);
        }
        enter(job, Status.CONCLUDED);
    }

    private void enter(Job job, Status status) {
        synchronized (this) {
            job.status = status;
        }
        events.emit(new JobStatusChange(job.id, status));
    }

    /** {@code query-jobs}. */
    synchronized List<JobInfo> list() {
        return jobs.values().stream()
                .map(
                        job ->
                                new JobInfo(
                                        job.id,
                                        job.type,
                                        job.status,
                                        job.done || job.error.isPresent() ? 1 : 0,
                                        1,
                                        job.error))
                .toList();
    }

    /** {@code job-dismiss}. */
    void dismiss(String id) {
        Job job;
        synchronized (this) {
            job = existing(id);
            check(job, job.status == Status.CONCLUDED, "dismiss");
            jobs.remove(id);
        }
        enter(job, Status.NULL);
    }

    /** {@code job-cancel}: what is at work ends when it can, and has failed then. */
    synchronized void cancel(String id) {
        Job job = existing(id);
        check(job, job.status != Status.CONCLUDED && job.status != Status.ABORTING, "cancel");
        job.cancelled = true;
    }

    private Job existing(String id) {
        Job job = jobs.get(id);
        if (job == null) {
            throw QmpException.generic("Job not found");
        }
        return job;
    }

    private static void check(Job job, boolean allowed, String verb) {
        if (!allowed) {
            throw QmpException.generic(
                    "Job '%s' in state '%s' cannot accept command verb '%s'",
                    job.id, job.status.name().toLowerCase(java.util.Locale.ROOT), verb);
        }
    }
}
